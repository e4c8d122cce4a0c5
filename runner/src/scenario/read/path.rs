//! Paths: what links do to packets, as the world declares it and as steps change it.

mod conditions;
mod rule;

use super::super::diagnostic::Diagnostic;
use super::super::grammar::{self, Record};
use super::super::model::{
    Action, Condition, Conditions, Link, PathChange, PathCount, PathExpectation, PathPlan, PathRule, Place,
};
use super::super::nearest::suggestion;
use super::super::scalar;
use super::super::yaml::{Entry, Node};
use super::scope::{Scope, unknown};
use super::{Fields, Read, Reader, Reported, all};

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

/// Reads the paths of a world: those of the topology, then those of the scenario, which may add to them.
pub(super) fn read(
    reader: &Reader,
    files: &[Fields<'_>],
    links: &Read<Vec<Link>>,
    scope: &mut Scope,
) -> Read<Vec<PathPlan>> {
    let mut plans: Vec<PathPlan> = Vec::new();
    let mut result = Ok(());
    for file in files {
        let Some(node) = file.get("paths") else { continue };
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
    let fields = reader.record(&entry.value, &grammar::PATH)?;
    let seed = fields.optional("seed", scalar::integer(0, u64::MAX));
    let both = match fields.get("both") {
        Some(node) => reader.record(node, &grammar::CONDITIONS).and_then(|both| {
            let path = scope.paths.get(index).ok_or(Reported(()))?;
            conditions::each(reader, &both, path, &[0, 1])
        }),
        None => Ok([None, None]),
    };
    if let (Ok(both), Some(path)) = (&both, scope.paths.get_mut(index)) {
        path.take(both);
    }
    let each = from(reader, &fields, index, scope);
    let rules = match fields.get("rules") {
        Some(node) => reader.list(node, "`rules`").and_then(|items| {
            all(items.iter().map(|item| {
                let fields = reader.record(item, &grammar::PATH_RULE)?;
                let rule = rule::read(reader, &fields, scope.paths.get(index), scope)?;
                install(reader, scope, index, rule)
            }))
        }),
        None => Ok(Vec::new()),
    };
    let (seed, _, (), rules) = (seed?, both?, each?, rules?);
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

/// The conditions of each direction by itself.
fn from(reader: &Reader, fields: &Fields<'_>, index: usize, scope: &mut Scope) -> Read<()> {
    let Some(node) = fields.get("from") else { return Ok(()) };
    all(reader.table(node, "`from`")?.iter().map(|entry| {
        let path = scope.paths.get_mut(index).ok_or(Reported(()))?;
        let direction = direction(reader, path, &entry.key, entry.place);
        let fields = reader.record(&entry.value, &grammar::CONDITIONS)?;
        let new = conditions::each(reader, &fields, path, &[direction?])?;
        path.take(&new);
        Ok(())
    }))
    .map(|_| ())
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
fn direction(reader: &Reader, path: &KnownPath, namespace: &str, place: Place) -> Read<usize> {
    path.ends.iter().position(|end| end == namespace).ok_or_else(|| {
        let message = format!("the link `{}` has no end in `{namespace}`", path.link);
        unknown(reader, place, message, suggestion(namespace, path.ends.iter().map(String::as_str)))
    })
}

/// The path that a step or a condition is about.
fn path_of(reader: &Reader, fields: &Fields<'_>, scope: &Scope) -> Read<usize> {
    let node = fields.need_node("link")?;
    let name = reader.scalar(node, |text| Ok(text.to_owned()))?;
    path_named(reader, &name, node.place, scope)
}

fn path_named(reader: &Reader, name: &str, place: Place, scope: &Scope) -> Read<usize> {
    if let Some(index) = scope.paths.iter().position(|path| path.link == name) {
        return Ok(index);
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
fn install(reader: &Reader, scope: &mut Scope, index: usize, rule: PathRule) -> Read<PathRule> {
    let path = scope.paths.get_mut(index).ok_or(Reported(()))?;
    if let Some(known) = path.rules.iter().find(|known| known.name == rule.name) {
        let message = format!("the path of `{}` has a rule `{}` already", path.link, rule.name);
        return Err(reader.report(Diagnostic::new(rule.place, message).context(known.place, "installed here")));
    }
    let holds = matches!(rule.action, super::super::model::RuleAction::Hold);
    path.rules.push(KnownRule { name: rule.name.clone(), place: rule.place, holds });
    if !path.names.contains(&rule.name) {
        path.names.push(rule.name.clone());
    }
    scope.awaited.remove(&super::wait::rule_key(&path.link, &rule.name));
    Ok(rule)
}

/// Reads a step about a path.
pub(super) fn step(reader: &Reader, name: &str, fields: &Fields<'_>, scope: &mut Scope) -> Read<Action> {
    match name {
        "set_path" => set_path(reader, fields, scope).map(Action::SetPath),
        "add_rule" => {
            let index = path_of(reader, fields, scope);
            let path = index.ok().and_then(|index| scope.paths.get(index));
            let rule = rule::read(reader, fields, path, scope)?;
            let index = index?;
            let rule = install(reader, scope, index, rule)?;
            let link = scope.paths.get(index).ok_or(Reported(()))?.link.clone();
            Ok(Action::AddRule { link, rule })
        }
        "remove_rule" => {
            let (index, at) = installed(reader, fields, scope)?;
            let path = scope.paths.get_mut(index).ok_or(Reported(()))?;
            let rule = path.rules.remove(at).name;
            Ok(Action::RemoveRule { link: path.link.clone(), rule })
        }
        _ => {
            let (index, at) = installed(reader, fields, scope)?;
            let path = scope.paths.get(index).ok_or(Reported(()))?;
            let rule = path.rules.get(at).ok_or(Reported(()))?;
            if !rule.holds {
                let message = format!("the rule `{}` holds nothing", rule.name);
                return Err(reader.report(
                    Diagnostic::new(fields.place_of("name"), message).context(rule.place, "its action is not `hold`"),
                ));
            }
            Ok(Action::Release { link: path.link.clone(), rule: rule.name.clone() })
        }
    }
}

fn set_path(reader: &Reader, fields: &Fields<'_>, scope: &mut Scope) -> Read<PathChange> {
    let clear = fields.or("clear", false, scalar::switch);
    let index = path_of(reader, fields, scope)?;
    let path = scope.paths.get_mut(index).ok_or(Reported(()))?;
    let directions = match fields.get("from") {
        Some(node) => vec![
            reader
                .scalar(node, |text| Ok(text.to_owned()))
                .and_then(|namespace| direction(reader, path, &namespace, node.place))?,
        ],
        None => vec![0, 1],
    };
    let clear = clear?;
    let changes = fields.node.entries().iter().any(|entry| grammar::CONDITIONS.key(&entry.key).is_some());
    if !changes && !clear {
        return Err(reader.report(
            Diagnostic::new(fields.place(), "no change is given")
                .help("`delay:`, `loss:` and so on; or `clear: true`: the path passes everything on as it is"),
        ));
    }
    if clear {
        for direction in &directions {
            if let Some(conditions) = path.conditions.get_mut(*direction) {
                *conditions = Conditions::default();
            }
        }
    }
    let conditions = conditions::each(reader, fields, path, &directions)?;
    path.take(&conditions);
    let from = fields.get("from").and_then(|node| node.text()).map(str::to_owned);
    Ok(PathChange { link: path.link.clone(), from, conditions })
}

/// A rule that is installed at this point: the path, and which of its rules.
fn installed(reader: &Reader, fields: &Fields<'_>, scope: &Scope) -> Read<(usize, usize)> {
    let name = fields.need("name", scalar::line);
    let index = path_of(reader, fields, scope)?;
    let name = name?;
    let path = scope.paths.get(index).ok_or(Reported(()))?;
    if let Some(at) = path.rules.iter().position(|rule| rule.name == name) {
        return Ok((index, at));
    }
    let message = format!("the path of `{}` has no rule `{name}` at this point", path.link);
    let help = suggestion(&name, path.rules.iter().map(|rule| rule.name.as_str()));
    Err(unknown(reader, fields.place_of("name"), message, help))
}

/// Reads a rule to wait for.
pub(super) fn wait(reader: &Reader, node: &Node, scope: &Scope) -> Read<Condition> {
    let fields = reader.record(node, &grammar::WAIT_RULE)?;
    let matched = fields.or("matched", 1, scalar::integer(1, u64::MAX));
    let (index, at) = installed(reader, &fields, scope)?;
    let path = scope.paths.get(index).ok_or(Reported(()))?;
    let rule = path.rules.get(at).ok_or(Reported(()))?.name.clone();
    Ok(Condition::Rule { link: path.link.clone(), rule, matched: matched? })
}

/// Reads what is expected of a path.
pub(super) fn expect(reader: &Reader, entry: &Entry, scope: &Scope) -> Read<Vec<PathExpectation>> {
    let index = path_named(reader, &entry.key, entry.place, scope);
    let fields = reader.record(&entry.value, &grammar::EXPECT_PATH)?;
    let path = scope.paths.get(index?).ok_or(Reported(()))?;
    let expectation = |place, what, range| PathExpectation { link: path.link.clone(), place, what, range };
    let rules = match fields.get("rules") {
        Some(node) if !scope.ended => Err(reader.report(
            Diagnostic::new(node.place, "how often rules matched is known at the end only")
                .help("expect it in `expect`; or wait for it: `wait: { rule: { link: …, name: …, matched: 1 } }`"),
        )),
        Some(node) => all(reader.table(node, "the rules of a path")?.iter().map(|rule| {
            let range = reader.range(&rule.value, u64::MAX);
            if !path.names.contains(&rule.key) {
                let message = format!("the path of `{}` never has a rule `{}`", path.link, rule.key);
                let help = suggestion(&rule.key, path.names.iter().map(String::as_str));
                return Err(unknown(reader, rule.place, message, help));
            }
            Ok(expectation(rule.place, PathCount::Rule(rule.key.clone()), range?))
        })),
        None => Ok(Vec::new()),
    };
    let totals = match fields.get("from") {
        Some(node) => all(reader.table(node, "`from`")?.iter().map(|end| {
            let direction = direction(reader, path, &end.key, end.place);
            let totals = all(reader.table(&end.value, "the counts of a direction")?.iter().map(|total| {
                let range = reader.range(&total.value, u64::MAX);
                let field = reader.key(total, scalar::word(&grammar::TOTALS));
                let what = PathCount::Total { sender: end.key.clone(), field: field?.to_owned() };
                Ok(expectation(total.place, what, range?))
            }));
            direction.and(totals)
        })),
        None => Ok(Vec::new()),
    };
    let mut expectations = rules?;
    expectations.extend(totals?.into_iter().flatten());
    Ok(expectations)
}

/// The record that the value of a key of a choice is.
fn chosen_record(record: &'static Record, key: &str) -> Option<&'static Record> {
    record.key(key).and_then(|key| match key.shape {
        grammar::Shape::Record(record) => Some(record),
        _ => None,
    })
}
