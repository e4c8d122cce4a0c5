"""ci/run-mutants with a stand-in for mptcplab: what counts as killed, and what doesn't."""

import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

RUN = Path(__file__).resolve().parent.parent / "run-mutants"

# Kernels are JSON: by scenario, its verdicts one after the other; the last one stays.
PROGRAM = """#!/usr/bin/env python3
import json, pathlib, sys
kernel = pathlib.Path(sys.argv[sys.argv.index("--kernel") + 1])
verdicts = json.loads(kernel.read_text())
log = kernel.parent.parent / "log" if kernel.parent.name == "kernels" else kernel.parent / "log"
if verdicts is None:
    sys.exit("the machine is lost")
for path in map(pathlib.Path, [argument for argument in sys.argv[2:] if "scenarios" in argument]):
    for file in sorted(path.rglob("*.yaml")) if path.is_dir() else [path]:
        with open(log, "a") as out:
            print(kernel.name, file.stem, file=out)
        count = sum(line.split() == [kernel.name, file.stem] for line in log.read_text().splitlines())
        left = verdicts.get(file.stem, ["passed"])
        verdict = left[min(count, len(left)) - 1]
        result = {"label": str(file)[:-5], "file": str(file), "verdict": verdict.split("!")[0], "findings": [],
                  "stalled": "!" in verdict, "reason": "why"}
        if verdict == "failed":
            result["findings"] = [{"kind": "event", "summary": "missing:  it"}]
        print(json.dumps(result), flush=True)
"""


class Run(unittest.TestCase):
    def setUp(self) -> None:
        self.home = tempfile.TemporaryDirectory()
        self.folder = Path(self.home.name) / "folder"
        (self.folder / "kernels").mkdir(parents=True)
        self.scenarios = Path(self.home.name) / "scenarios"
        self.scenarios.mkdir()
        for name in ("one", "three", "two"):
            (self.scenarios / f"{name}.yaml").write_text("title: it")
        self.program = Path(self.home.name) / "mptcplab"
        self.program.write_text(PROGRAM)
        self.program.chmod(0o755)
        self.base({})

    def tearDown(self) -> None:
        self.home.cleanup()

    def base(self, verdicts: dict) -> None:
        (self.folder / "base").write_text(json.dumps(verdicts))

    def mutant(self, name: str, verdicts: dict | None, state: str = "built") -> None:
        (self.folder / "kernels" / name).write_text(json.dumps(verdicts))
        line = {"id": name, "file": "pm.c", "function": "f", "operator": "drop-call", "line": 7, "state": state}
        with open(self.folder / "mutants.jsonl", "a", encoding="utf-8") as table:
            print(json.dumps(line), file=table)

    def run_mutants(self, *options: str | Path) -> tuple[int, dict[str, dict]]:
        command = [sys.executable, "-B", RUN, self.folder, "--mptcplab", self.program, "--scenarios", self.scenarios, *options]
        self.ran = subprocess.run(command, capture_output=True, text=True, check=False)
        stored = (self.folder / "results.jsonl").read_text().splitlines()
        return self.ran.returncode, {result["id"]: result for result in map(json.loads, stored)}

    def test_a_failure_that_repeats_kills(self) -> None:
        self.mutant("a", {"two": ["failed"]})
        code, results = self.run_mutants()
        self.assertEqual((code, results["a"]["state"]), (0, "killed"))
        self.assertEqual(Path(results["a"]["by"]).name, "two")
        self.assertEqual((results["a"]["kind"], results["a"]["check"]), ("event", "missing: it"))
        self.assertIn("1 of 1 mutants killed", self.ran.stdout)
        self.assertIn("| a |", (self.folder / "table.md").read_text())

    def test_a_failure_that_does_not_repeat_is_no_kill_and_the_others_go_on(self) -> None:
        self.mutant("a", {"one": ["failed", "passed"], "two": ["failed"]})
        self.assertTrue(self.run_mutants()[1]["a"]["by"].endswith("two"))
        self.mutant("b", {"one": ["failed", "passed"]})
        code, results = self.run_mutants()
        self.assertEqual((code, results["b"]["state"]), (1, "survived"))
        self.assertEqual([Path(label).name for label in results["b"]["unconfirmed"]], ["one"])
        self.assertIn("| b | pm.c:7 | failed once:", self.ran.stdout)

    def test_a_single_scenario_that_fails_once_leaves_the_others_to_run(self) -> None:
        self.mutant("a", {"one": ["failed"]})
        self.mutant("b", {"one": ["failed", "passed"], "three": ["failed"]})
        self.assertTrue(self.run_mutants()[1]["b"]["by"].endswith("three"))

    def test_a_stalled_run_must_fail_thrice_where_the_unchanged_kernel_passes_twice(self) -> None:
        self.mutant("a", {"one": ["error!", "error!", "passed"]})
        self.mutant("b", {"one": ["error!", "failed", "failed"]})
        results = self.run_mutants()[1]
        self.assertEqual((results["a"]["state"], results["b"]["state"]), ("survived", "killed"))
        self.base({"three": ["passed", "passed", "failed"]})
        self.mutant("c", {"three": ["error!"]})
        self.assertEqual(self.run_mutants()[1]["c"]["state"], "survived")

    def test_what_fails_on_the_unchanged_kernel_too_is_no_kill(self) -> None:
        self.base({"two": ["passed", "failed"]})
        self.mutant("a", {"two": ["failed"]})
        self.assertEqual(self.run_mutants()[1]["a"]["state"], "survived")

    def test_scenarios_that_a_mutant_skips_are_named(self) -> None:
        self.mutant("a", {"two": ["skipped"]})
        self.assertRegex(self.run_mutants()[1]["a"]["skipped"][0], "two: why$")

    def test_a_kernel_that_runs_nothing_is_killed(self) -> None:
        self.mutant("a", None)
        result = self.run_mutants()[1]["a"]
        self.assertEqual((result["state"], result["check"]), ("killed", "the machine is lost"))

    def test_only_built_mutants_run_and_results_are_kept_until_something_changes(self) -> None:
        self.mutant("a", {"two": ["failed"]})
        self.mutant("b", {}, "same object code")
        self.assertEqual(list(self.run_mutants()[1]), ["a"])
        before = (self.folder / "log").read_text()
        self.run_mutants()
        self.assertEqual((self.folder / "log").read_text(), before)
        (self.scenarios / "two.yaml").write_text("title: changed")
        self.run_mutants()
        self.assertNotEqual((self.folder / "log").read_text(), before)

    def test_what_killed_another_mutant_comes_first(self) -> None:
        self.mutant("a", {"two": ["failed"]})
        self.mutant("b", {"two": ["failed"]})
        self.run_mutants()
        first = [line for line in (self.folder / "log").read_text().splitlines() if line.startswith("b ")][0]
        self.assertEqual(first, "b two")

    def test_the_first_scenarios_and_the_mutants_can_be_named(self) -> None:
        for name in "ab":
            self.mutant(name, {"three": ["failed"], "one": ["failed"]})
        results = self.run_mutants("--first", self.scenarios / "three.yaml", "--mutant", "b")[1]
        self.assertEqual(list(results), ["b"])
        self.assertTrue(results["b"]["by"].endswith("three"))


if __name__ == "__main__":
    unittest.main()
