//! One mistake in one file, as `check` prints it.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use mistersmith_core::config::Finding;

/// A mistake: its place, the problem and the fix.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Mistake {
    /// The manifest or the component.
    file: PathBuf,
    /// The line, from 1; 0 for the file as a whole.
    line: usize,
    /// The key; empty where no key is concerned.
    key: String,
    /// The problem.
    problem: String,
    /// The fix; none when the problem text contains it.
    fix: Option<String>,
}

impl Mistake {
    /// A mistake that concerns a file as a whole.
    pub(super) fn of_file(file: &Path, problem: String) -> Mistake {
        Mistake {
            file: file.to_owned(),
            line: 0,
            key: String::new(),
            problem,
            fix: None,
        }
    }
}

impl From<Finding> for Mistake {
    fn from(finding: Finding) -> Mistake {
        Mistake {
            file: finding.file,
            line: finding.line,
            key: finding.key,
            problem: finding.problem,
            fix: Some(finding.fix),
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if self.line > 0 {
            write!(f, "{}:", self.line)?;
        }
        if !self.key.is_empty() {
            write!(f, " {}:", self.key)?;
        }
        write!(f, " {}", self.problem)?;
        match &self.fix {
            Some(fix) => write!(f, "; {fix}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_reads_the_same_as_where_it_was_found() {
        let finding = |line, key: &str| Finding {
            file: "plugins/x/plugin.toml".into(),
            line,
            key: key.to_owned(),
            problem: "\"32 apples\" is not a size".to_owned(),
            fix: "write it like \"32MiB\"".to_owned(),
        };
        for finding in [finding(7, "limits.memory"), finding(0, "")] {
            let text = finding.to_string();
            assert_eq!(Mistake::from(finding).to_string(), text);
        }
        let bare = Mistake::of_file(Path::new("x.wasm"), "it is broken".to_owned());
        assert_eq!(bare.to_string(), "x.wasm: it is broken");
    }
}
