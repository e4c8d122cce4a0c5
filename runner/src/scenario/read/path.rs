//! Paths: what links do to packets, as the world declares it and as steps change it.

pub mod conditions;
pub mod rule;

use super::super::diagnostic::Diagnostic;
use super::super::grammar::{Kind, Shape, TOTALS};
use super::super::model::{Conditions, Link, PathChange, PathCount, PathExpectation, PathPlan, PathRule, Place};
use super::super::nearest::suggestion;
use super::super::record::{Group as _, List, Part as _, Unread, part, record};
use super::super::scalar::{self, Seed};
use super::super::yaml::{Entry, Node};
use super::scope::{Scope, unknown};
use super::world::WorldKeys;
use super::{At, Fields, Read, Reader, Reported, all};
use conditions::Changes;
use rule::RuleKeys;

/// What is known of a path at some point of a scenario.
#[derive(Debug, Clone)]
pub struct KnownPath {
    pub link: String,
    /// The namespaces of its ends.
    pub ends: [String; 2],
    /// The MTU of the link in bytes.
    pub link_mtu: u32,
    /// What each direction does by now.
    pub conditions: [Conditions; 2],
    /// Rules that are installed, and whether they hold segments back.
    pub rules: Vec<KnownRule>,
    /// Names of all rules that were ever installed.
    pub names: Vec<String>,
}

/// A rule that is installed.
#[derive(Debug, Clone)]
pub struct KnownRule {
    pub name: String,
    pub place: Place,
    pub holds: bool,
}

/// The MTU of a link that doesn't say any.
const DEFAULT_MTU: u32 = 1500;

record! {
    /// A path, as a file declares it.
    PathKeys as "path", "a path" {
        seed: maybe Seed = "seed", "Seed of all random decisions on this path; 0 by default.";
        both: maybe Unread<Changes> = "both", "What both directions do.";
        from: or(Vec::new()) EachDirection = "from",
            "What one direction does, by the namespace that sends; its keys override those of `both`.";
        rules: or(Vec::new()) List<Unread<RuleKeys>> = "rules",
            "Middlebox rules, in a row along the link: packets from the first end pass them in this order, packets from the \
             second end in reverse. The conditions apply after them.";
    }
}

part! {
    /// Conditions by the end that sends.
    EachDirection: Vec<Entry> = Shape::Table("namespace", Kind::Name, &Changes::SHAPE),
    |at, node| at.table(node, |entry| Ok(entry.clone()))
}

/// Reads the paths of a world: those of the topology, then those of the scenario, which may add to them.
pub(super) fn read(
    reader: &Reader,
    files: &[WorldKeys],
    links: &Read<Vec<Link>>,
    scope: &mut Scope,
) -> Read<Vec<PathPlan>> {
    let mut plans: Vec<PathPlan> = Vec::new();
    let mut result = Ok(());
    for node in files.iter().filter_map(|file| file.paths.as_ref()) {
        for entry in reader.table(node, "`paths`")? {
            let path = declare(reader, entry, links, &mut plans, scope);
            result = result.and(path);
        }
    }
    // Each message about conditions tells what they are when all files have had their say.
    result.map(|()| plans)
}

fn declare(
    reader: &Reader,
    entry: &Entry,
    links: &Read<Vec<Link>>,
    plans: &mut Vec<PathPlan>,
    scope: &mut Scope,
) -> Read<()> {
    let index = known_path(reader, entry, links, scope)?;
    let fields = reader.record(&entry.value, PathKeys::RECORD)?;
    let PathKeys { seed, both, from, rules } = PathKeys::from_keys(&on_path(&fields, index, scope)?)?;
    let both = both.map_or(Ok(()), |node| conditions(reader, &node, index, &[0, 1], scope));
    let each = all(from.iter().map(|entry| {
        let path = scope.paths.get(index).ok_or(Reported(()))?;
        let direction = direction(reader, path, &entry.key, entry.place)?;
        conditions(reader, &entry.value, index, &[direction], scope)
    }));
    let rules = all(rules.iter().map(|item| {
        let rule = RuleKeys::read(&on_path(&fields, index, scope)?, item)?;
        install(reader, scope, &entry.key, &rule)?;
        Ok(rule)
    }));
    let ((), _, rules) = (both?, each?, rules?);
    let path = scope.paths.get(index).ok_or(Reported(()))?;
    match plans.iter_mut().find(|plan| plan.link == entry.key) {
        Some(plan) => {
            plan.seed = seed.unwrap_or(plan.seed);
            plan.conditions.clone_from(&path.conditions);
            plan.rules.extend(rules);
        }
        None => plans.push(PathPlan {
            link: entry.key.clone(),
            place: entry.place,
            seed: seed.unwrap_or(0),
            conditions: path.conditions.clone(),
            rules,
        }),
    }
    Ok(())
}

/// The conditions of these directions, which hold from now on.
fn conditions(reader: &Reader, node: &Node, index: usize, directions: &[usize], scope: &mut Scope) -> Read<()> {
    let fields = reader.record(node, Changes::RECORD)?;
    let new = conditions::each(&on_path(&fields, index, scope)?, directions, false)?;
    scope.paths.get_mut(index).ok_or(Reported(()))?.take(&new);
    Ok(())
}

/// A record about a path of the world.
fn on_path<'a>(fields: &'a Fields<'a>, index: usize, scope: &'a Scope) -> Read<At<'a>> {
    let path = scope.paths.get(index).ok_or(Reported(()))?;
    Ok(At { path: Ok(path).into(), ..At::new(fields, scope) })
}

/// The path of a declaration; it is noted in the scope if it is new.
fn known_path(reader: &Reader, entry: &Entry, links: &Read<Vec<Link>>, scope: &mut Scope) -> Read<usize> {
    let Some((_, ends)) = scope.links.iter().find(|(name, _)| *name == entry.key) else {
        if scope.names_are_missing {
            return Err(Reported(()));
        }
        let help = suggestion(&entry.key, scope.links.iter().map(|(name, _)| name.as_str()));
        return Err(unknown(reader, entry.place, format!("there is no link `{}`", entry.key), help));
    };
    if let Some(index) = scope.paths.iter().position(|path| path.link == entry.key) {
        return Ok(index);
    }
    // A link without two ends was noted where it is declared.
    let [first, second] = ends.as_slice() else { return Err(Reported(())) };
    let link = links.as_ref().ok().and_then(|links| links.iter().find(|link| link.name == entry.key));
    let path = KnownPath {
        link: entry.key.clone(),
        ends: [first.clone(), second.clone()],
        link_mtu: link.and_then(|link| link.mtu).unwrap_or(DEFAULT_MTU),
        conditions: [Conditions::default(), Conditions::default()],
        rules: Vec::new(),
        names: Vec::new(),
    };
    scope.paths.push(path);
    match link {
        Some(link) if link.rate.is_some() => Err(reader.report(
            Diagnostic::new(
                entry.place,
                format!("`{}` has a `rate` and a path: only one can hold packets back", entry.key),
            )
            .context(link.place, "its `rate` is a token bucket of the kernel, for plain links")
            .help("give the rate to the path: `both: { rate: 20 Mbit/s }`"),
        )),
        _ => Ok(scope.paths.len() - 1),
    }
}

impl KnownPath {
    /// These conditions hold from now on.
    fn take(&mut self, new: &[Option<Conditions>; 2]) {
        for (own, new) in self.conditions.iter_mut().zip(new) {
            if let Some(new) = new {
                own.clone_from(new);
            }
        }
    }
}

/// Which end of the link a namespace is at.
pub(super) fn direction(reader: &Reader, path: &KnownPath, namespace: &str, place: Place) -> Read<usize> {
    path.ends.iter().position(|end| end == namespace).ok_or_else(|| {
        let message = format!("the link `{}` has no end in `{namespace}`", path.link);
        unknown(reader, place, message, suggestion(namespace, path.ends.iter().map(String::as_str)))
    })
}

/// The path that a step or a condition is about.
pub(super) fn path_of<'a>(fields: &Fields<'_>, scope: &'a Scope) -> Read<&'a KnownPath> {
    let node = fields.need_node("link")?;
    let name = fields.reader.scalar(node, |text| Ok(text.to_owned()))?;
    path_named(fields.reader, &name, node.place, scope)
}

fn path_named<'a>(reader: &Reader, name: &str, place: Place, scope: &'a Scope) -> Read<&'a KnownPath> {
    if let Some(path) = scope.paths.iter().find(|path| path.link == name) {
        return Ok(path);
    }
    if scope.names_are_missing {
        return Err(Reported(()));
    }
    if scope.links.iter().any(|(link, _)| link == name) {
        return Err(reader.report(
            Diagnostic::new(place, format!("the link `{name}` has no path: it is a plain veth pair"))
                .help(format!("`paths: {{ {name}: {{}} }}` gives it one")),
        ));
    }
    let help = suggestion(name, scope.links.iter().map(|(link, _)| link.as_str()));
    Err(unknown(reader, place, format!("there is no link `{name}`"), help))
}

/// Notes that a rule is installed.
pub(super) fn install(reader: &Reader, scope: &mut Scope, link: &str, rule: &PathRule) -> Read<()> {
    let path = scope.paths.iter_mut().find(|path| path.link == link).ok_or(Reported(()))?;
    if let Some(known) = path.rules.iter().find(|known| known.name == rule.name) {
        let message = format!("the path of `{}` already has a rule `{}`", path.link, rule.name);
        return Err(reader.report(Diagnostic::new(rule.place, message).context(known.place, "installed here")));
    }
    let holds = matches!(rule.action, super::super::model::RuleAction::Hold);
    path.rules.push(KnownRule { name: rule.name.clone(), place: rule.place, holds });
    if !path.names.contains(&rule.name) {
        path.names.push(rule.name.clone());
    }
    scope.awaited.remove(&super::wait::rule_key(link, &rule.name));
    Ok(())
}

/// Notes that a rule is gone.
pub(super) fn remove(link: &str, rule: &str, scope: &mut Scope) {
    for path in scope.paths.iter_mut().filter(|path| path.link == link) {
        path.rules.retain(|known| known.name != rule);
    }
}

/// Notes that the conditions of a path are other ones.
pub(super) fn change(change: &PathChange, scope: &mut Scope) {
    for path in scope.paths.iter_mut().filter(|path| path.link == change.link) {
        path.take(&change.conditions);
    }
}

/// The rule of that name that is installed on the path at this point.
pub(super) fn installed<'a>(at: &At<'a>, node: &Node) -> Read<&'a KnownRule> {
    let (name, path) = (at.reader.scalar(node, scalar::line)?, at.path()?);
    path.rules.iter().find(|rule| rule.name == name).ok_or_else(|| {
        let message = format!("the path of `{}` has no rule `{name}` at this point", path.link);
        let help = suggestion(&name, path.rules.iter().map(|rule| rule.name.as_str()));
        unknown(at.reader, node.place, message, help)
    })
}

/// Notes that the rule can't release anything.
pub(super) fn holds_nothing(at: &At<'_>, rule: &KnownRule, place: Place) -> Reported {
    let diagnostic = Diagnostic::new(place, format!("the rule `{}` holds no segments", rule.name));
    at.reader.report(diagnostic.context(rule.place, "its action is not `hold`"))
}

record! {
    /// What is expected of a path.
    PathCounts as "expect_path", "what is expected of a path" {
        rules: or(Vec::new()) RuleCounts = "rules", "How many segments each rule matched; only in the final `expect`.";
        totals: or(Vec::new()) Totals = "from", "What happened to the packets that this end sent.";
    }
}

part! {
    /// How often rules matched.
    RuleCounts: Vec<PathExpectation> = Shape::Table("rule", Kind::Line, &Shape::Scalar(Kind::Count)), |at, node| {
        if !at.scope.ended {
            return Err(at.reader.report(
                Diagnostic::new(node.place, "matches of rules are known only at the end of the run")
                    .help("move it to `expect`, or wait for it: `wait: { rule: { link: …, name: …, matched: 1 } }`"),
            ));
        }
        let path = at.path()?;
        at.table(node, |rule| {
            let range = at.reader.range(&rule.value, u64::MAX);
            if !path.names.contains(&rule.key) {
                let message = format!("the path of `{}` never has a rule `{}`", path.link, rule.key);
                let help = suggestion(&rule.key, path.names.iter().map(String::as_str));
                return Err(unknown(at.reader, rule.place, message, help));
            }
            let what = PathCount::Rule(rule.key.clone());
            Ok(PathExpectation { link: path.link.clone(), place: rule.place, what, range: range? })
        })
    }
}

part! {
    /// What can be counted of a direction, by the namespace that sends.
    Totals: Vec<PathExpectation> = Shape::Table(
        "namespace",
        Kind::Name,
        &Shape::Table("count", Kind::Word(&TOTALS), &Shape::Scalar(Kind::Count)),
    ),
    |at, node| {
        let path = at.path()?;
        let ends = at.table(node, |end| {
            let direction = direction(at.reader, path, &end.key, end.place);
            let totals = all(at.reader.table(&end.value, "the counts of a direction")?.iter().map(|total| {
                let range = at.reader.range(&total.value, u64::MAX);
                let field = at.reader.key(total, scalar::word(&TOTALS));
                let what = PathCount::Total { sender: end.key.clone(), field: field?.to_owned() };
                Ok(PathExpectation { link: path.link.clone(), place: total.place, what, range: range? })
            }));
            direction.and(totals)
        })?;
        Ok(ends.concat())
    }
}

/// Reads what is expected of a path.
pub(super) fn expect(at: &At<'_>, entry: &Entry) -> Read<Vec<PathExpectation>> {
    let path = path_named(at.reader, &entry.key, entry.place, at.scope);
    let of_it = At { path: path.into(), ..At::new(at.fields, at.scope) };
    let PathCounts { rules, totals } = PathCounts::read(&of_it, &entry.value)?;
    path?;
    Ok([rules, totals].concat())
}
