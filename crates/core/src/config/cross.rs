//! Checks across all plugins: names, work and stages that two of them claim.

use super::{Finding, Findings, PluginSpec, StageSpec};

/// Finds two plugins of one name, and two plugins that take the same work or do the same stage:
/// each item would go to whichever asked first. Every pair is reported once, at the later of the
/// two.
pub fn cross_check(plugins: &[&PluginSpec]) -> Findings {
    let mut findings = Findings::default();
    for (at, plugin) in plugins.iter().enumerate() {
        for other in plugins.iter().take(at) {
            if plugin.name == other.name {
                findings.push(same_name(plugin, other));
            } else {
                findings.extend(same_work(plugin, other));
                findings.extend(same_stage(plugin, other));
            }
        }
    }
    findings
}

fn same_name(plugin: &PluginSpec, other: &PluginSpec) -> Finding {
    let other_file = other.manifest.display();
    Finding {
        file: plugin.manifest.clone(),
        line: 0,
        key: "plugin.name".to_owned(),
        problem: format!("{other_file} has the name {:?} too", plugin.name),
        fix: "delete or rename one of them".to_owned(),
    }
}

fn same_work(plugin: &PluginSpec, other: &PluginSpec) -> Vec<Finding> {
    let mut findings = Vec::new();
    for work in &plugin.work {
        let overlapping = other.work.iter().filter(|theirs| theirs.overlaps(work));
        findings.extend(overlapping.map(|theirs| Finding {
            file: plugin.manifest.clone(),
            line: 0,
            key: "work".to_owned(),
            problem: format!(
                "plugins `{}` and `{}` both take work: {} overlaps {} in {}",
                plugin.name,
                other.name,
                work.pattern(),
                theirs.pattern(),
                other.manifest.display()
            ),
            fix: "let one plugin take each task".to_owned(),
        }));
    }
    findings
}

fn same_stage(plugin: &PluginSpec, other: &PluginSpec) -> Vec<Finding> {
    let theirs = |stage: &&StageSpec| other.pipeline.iter().any(|s| s.stage == stage.stage);
    let shared = plugin.pipeline.iter().filter(theirs);
    let finding = |stage: &StageSpec| Finding {
        file: plugin.manifest.clone(),
        line: 0,
        key: "pipeline.stage".to_owned(),
        problem: format!(
            "plugins `{}` and `{}` both do stage {:?}, which is in {} too",
            plugin.name,
            other.name,
            stage.stage,
            other.manifest.display()
        ),
        fix: "let one plugin do each stage".to_owned(),
    };
    shared.map(finding).collect()
}
