"""Each operator on C of our own: what it changes, and what it leaves alone."""

import unittest

import operators

SOURCE = b"""
#define LIMIT 3
static bool allowed(struct pm *pm, int count)
	__must_hold(&pm->lock)
{
	struct subflow *sf;

	pr_debug("%d < %d", count, LIMIT);
	spin_lock_bh(&pm->lock);
	if (count < pm->limit && !pm->closed)
		return false;

	mptcp_for_each_subflow(pm, sf) {
		if (before(sf->local_id, sf->remote_id))
			continue;
		pm->flags |= MPTCP_CAP_A | MPTCP_CAP_B;
		count = min(count, pm->used + 1);
		WRITE_ONCE(pm->state, count);
		announce(pm);
	}
	switch (count) {
	case EINVAL:
		break;
	}
	spin_unlock_bh(&pm->lock);
	return -EINVAL;
}

static void nothing(void)
{
	if (ENOMEM)
		nested(&allowed);
}
"""


class Operators(unittest.TestCase):
    def changes(self, operator: str, function: str = "allowed") -> list[tuple[str, str]]:
        """The lines that mutants change, before and after."""
        found = []
        for mutant in operators.mutants("a.c", SOURCE, operators.identifiers([SOURCE])):
            if (mutant.operator, mutant.function) == (operator, function):
                before, after = SOURCE.split(b"\n"), mutant.apply(SOURCE).split(b"\n")
                self.assertEqual(len(before), len(after), "a mutant has the lines of the original")
                different = [(a, b) for a, b in zip(before, after) if a != b]
                found.append((different[0][0].decode().strip(), different[0][1].decode().strip()))
        return found

    def after(self, operator: str, function: str = "allowed") -> list[str]:
        return [after for _, after in self.changes(operator, function)]

    def test_negate_condition(self) -> None:
        self.assertEqual(self.after("negate-condition"), [
            "if (!(count < pm->limit && !pm->closed))",
            "if (count < pm->limit && !!pm->closed)",
            "if (!(before(sf->local_id, sf->remote_id)))",
        ])

    def test_drop_condition(self) -> None:
        self.assertEqual(self.after("drop-condition"), ["if (count < pm->limit)", "if (!pm->closed)"])

    def test_off_by_one_only_where_nothing_is_printed(self) -> None:
        self.assertEqual(self.after("off-by-one"), ["if (count <= pm->limit && !pm->closed)"])

    def test_drop_update(self) -> None:
        self.assertEqual([before for before, _ in self.changes("drop-update")], [
            "pm->flags |= MPTCP_CAP_A | MPTCP_CAP_B;", "WRITE_ONCE(pm->state, count);",
        ])
        self.assertEqual(set(self.after("drop-update")), {";"})

    def test_drop_call_leaves_locks_and_loops(self) -> None:
        self.assertEqual(self.changes("drop-call"), [("announce(pm);", ";")])

    def test_drop_flag(self) -> None:
        self.assertEqual(self.after("drop-flag"), ["pm->flags |= MPTCP_CAP_A;", "pm->flags |= MPTCP_CAP_B;"])

    def test_swap_constant_leaves_labels(self) -> None:
        self.assertEqual(self.after("swap-constant"), [
            "pm->flags |= MPTCP_CAP_B | MPTCP_CAP_B;", "pm->flags |= MPTCP_CAP_A | MPTCP_CAP_A;", "return -ENOMEM;",
        ])

    def test_swap_ends(self) -> None:
        self.assertEqual(self.after("swap-ends"), [
            "if (before(sf->remote_id, sf->remote_id))", "if (before(sf->local_id, sf->local_id))",
        ])

    def test_swap_min_max(self) -> None:
        self.assertEqual(self.after("swap-min-max"), [
            "if (after(sf->local_id, sf->remote_id))", "count = max(count, pm->used + 1);",
        ])

    def test_change_arithmetic(self) -> None:
        self.assertEqual(self.after("change-arithmetic"), ["count = min(count, pm->used - 1);"])

    def test_return_early(self) -> None:
        self.assertEqual(self.after("return-early"), ["{ return 0;"])
        self.assertEqual(self.after("return-early", "nothing"), ["{ return;"])

    def test_change_return(self) -> None:
        self.assertEqual(self.after("change-return"), ["return true;", "return 0;"])

    def test_loop_exit_leaves_switches(self) -> None:
        self.assertEqual(self.after("loop-exit"), ["break;"])

    def test_each_operator_is_tested(self) -> None:
        tested = {name.split("_leaves")[0].split("_only")[0][5:].replace("_", "-") for name in dir(self)}
        self.assertLessEqual(set(operators.OPERATORS), tested)

    def test_ids_are_unique(self) -> None:
        ids = [mutant.id for mutant in operators.mutants("a.c", SOURCE + SOURCE, set())]
        self.assertEqual(len(ids), len(set(ids)))


if __name__ == "__main__":
    unittest.main()
