//! The suggested manifest of a component that has none.

use std::fmt::Write;

/// A manifest for the component `name`, filled in from its imports as the runtime lists them
/// (`mistersmith:agent/messaging@0.1.0`, `messaging`, …). It grants nothing: what the component
/// could use is in comments, for a person to judge. The text is a valid manifest.
pub fn suggest_manifest(name: &str, imports: &[String]) -> String {
    let name = name.replace('_', "-");
    let imported = |interface: &str| {
        imports
            .iter()
            .any(|import| interface_of(import) == interface)
    };
    let mut text = format!(
        "[plugin]\nname = {name:?}\nversion = \"0.1.0\"\ndescription = \"\"\ninstances = 1\n\n\
         # What should wake it? For example:\n\
         # [[work]]\n# domain = \"nlp\"\n# task = {name:?}\n#\n\
         # [[subscribe]]\n# subject = \"tools.{name}\"\n# queue = {name:?}\n"
    );
    let messaging = imported("messaging");
    let kv = imported("kv");
    let coordination = imported("coordination");
    if messaging || kv || coordination {
        text.push_str("\n[permissions]              # nothing is allowed that is not listed\n");
    }
    let names: Vec<&str> = [("messaging", messaging), ("coordination", coordination)]
        .into_iter()
        .filter_map(|(name, imports)| imports.then_some(name))
        .collect();
    if !names.is_empty() {
        let names = names.join(" and ");
        let _ = writeln!(
            text,
            "# It imports {names}; remove the # from what it may do:"
        );
    }
    for (list, space, events) in [
        ("publish", "results", "\"scatter.*.task\", \"coord.*.*\""),
        ("request", "tools", ""),
        ("subscribe", "events", "\"coord.*.*\""),
    ] {
        let own = format!("\"{space}.{name}.>\"");
        let granted = [(own.as_str(), messaging), (events, coordination)];
        let granted: Vec<&str> = granted
            .into_iter()
            .filter_map(|(what, imports)| (imports && !what.is_empty()).then_some(what))
            .collect();
        if !granted.is_empty() {
            let _ = writeln!(text, "# {list:<9} = [{}]", granted.join(", "));
        }
    }
    if kv {
        let bucket = name.to_uppercase().replace('-', "_");
        text.push_str("# It imports kv; remove the # from what it may use:\n");
        let _ = writeln!(
            text,
            "# kv = [{{ bucket = \"{bucket}\", keys = [\"{{plugin}}.>\"], access = \"read-write\" \
             }}]"
        );
    }
    text
}

/// `messaging` of `mistersmith:agent/messaging@0.1.0`.
fn interface_of(import: &str) -> &str {
    let versioned = import.rsplit('/').next().unwrap_or_default();
    versioned.split('@').next().unwrap_or_default()
}
