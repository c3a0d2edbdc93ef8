//! A cheap survey of a component before it is compiled: its interfaces by name, and the bounds on
//! functions and nesting.
//!
//! It proves nothing: the engine validates the component. It refuses components that would cost the
//! compiler more than any program should.

use wasmparser::{FunctionBody, Operator, Parser, Payload, Result as WasmResult};

use super::order::Interfaces;
use mistersmith_core::limits::{MAX_FUNCTIONS, MAX_LOOP_DEPTH};

/// Most interfaces of one component, and bytes of all their names.
const MAX_INTERFACES: usize = 1000;
const MAX_NAMES: usize = 64 << 10;

/// The result of a survey.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Survey {
    /// Within the bounds.
    Fine(Interfaces),
    /// Beyond a bound: a sentence.
    Beyond(String),
}

/// Reads a component once, in the order of its bytes.
///
/// # Errors
/// It cannot be read.
pub(super) fn survey(component: &[u8]) -> WasmResult<Survey> {
    let mut interfaces = Interfaces::default();
    let (mut functions, mut inside) = (0_u64, 0_u32);
    for payload in Parser::new(0).parse_all(component) {
        match payload? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => inside += 1,
            Payload::End(_) => inside = inside.saturating_sub(1),
            Payload::CodeSectionStart { count, .. } => {
                functions = functions.saturating_add(count.into());
                if functions > MAX_FUNCTIONS {
                    let why = format!("the component has {functions} functions or more");
                    return Ok(beyond(&why, MAX_FUNCTIONS));
                }
            }
            Payload::CodeSectionEntry(body) => {
                if loops(&body)? > MAX_LOOP_DEPTH {
                    let why = "the component has loops within loops";
                    return Ok(beyond(why, MAX_LOOP_DEPTH as u64));
                }
            }
            Payload::ComponentImportSection(reader) if inside == 0 => {
                for import in reader {
                    interfaces.imports.push(import?.name.name.to_owned());
                    if is_long(&interfaces) {
                        return Ok(many());
                    }
                }
            }
            Payload::ComponentExportSection(reader) if inside == 0 => {
                for export in reader {
                    interfaces.exports.push(export?.name.name.to_owned());
                    if is_long(&interfaces) {
                        return Ok(many());
                    }
                }
            }
            _ => {}
        }
    }
    interfaces.imports.sort_unstable();
    Ok(Survey::Fine(interfaces))
}

fn is_long(Interfaces { imports, exports }: &Interfaces) -> bool {
    let names = || imports.iter().chain(exports);
    names().count() > MAX_INTERFACES || names().map(String::len).sum::<usize>() > MAX_NAMES
}

fn many() -> Survey {
    let why = "the component has imports and exports";
    beyond(why, MAX_INTERFACES as u64)
}

fn beyond(what: &str, most: u64) -> Survey {
    Survey::Beyond(format!("{what}, and {most} are the most that is compiled"))
}

/// The most loops around any instruction of a function; counts on only as far as it matters.
fn loops(body: &FunctionBody<'_>) -> WasmResult<usize> {
    // Whether each block that is open is a loop.
    let mut open = Vec::new();
    let (mut depth, mut most) = (0_usize, 0);
    let mut operators = body.get_operators_reader()?;
    while !operators.eof() {
        match operators.read()? {
            Operator::Loop { .. } => {
                open.push(true);
                depth += 1;
                most = most.max(depth);
            }
            Operator::Block { .. } | Operator::If { .. } | Operator::TryTable { .. } => {
                open.push(false);
            }
            Operator::End => depth -= usize::from(open.pop() == Some(true)),
            _ => {}
        }
        if most > MAX_LOOP_DEPTH {
            break;
        }
    }
    Ok(most)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use mistersmith_testing::fuzz;

    fn of(text: &str) -> Survey {
        survey(&wat::parse_str(text).unwrap()).unwrap()
    }

    fn refused(text: &str) -> String {
        match of(text) {
            Survey::Beyond(why) => why,
            fine => panic!("{fine:?}"),
        }
    }

    fn nested(what: &str, times: usize) -> String {
        format!(
            "(component (core module (func {}{})))",
            format!("({what} ").repeat(times),
            ")".repeat(times)
        )
    }

    #[test]
    fn interfaces_are_those_of_the_component_itself() {
        let seen = of("(component
                (import \"b:c/d@0.1.0\" (instance))
                (import \"a:b/c@0.2.0\" (instance $i))
                (component (import \"inner\" (func)))
                (core module (import \"core\" \"f\" (func)))
                (export \"e:f/g@1.0.0\" (instance $i)))");
        let Survey::Fine(interfaces) = seen else {
            panic!("{seen:?}");
        };
        assert_eq!(interfaces.imports, ["a:b/c@0.2.0", "b:c/d@0.1.0"]);
        assert_eq!(interfaces.exports, ["e:f/g@1.0.0"]);
    }

    #[test]
    fn loops_within_loops_are_counted_and_nothing_else() {
        assert!(matches!(
            of(&nested("loop", MAX_LOOP_DEPTH)),
            Survey::Fine(_)
        ));
        assert_eq!(
            refused(&nested("loop", MAX_LOOP_DEPTH + 1)),
            "the component has loops within loops, and 500 are the most that is compiled"
        );
        assert!(matches!(of(&nested("block", 5000)), Survey::Fine(_)));
        let beside = format!("(component (core module (func {})))", "(loop)".repeat(5000));
        assert!(matches!(of(&beside), Survey::Fine(_)));
    }

    #[test]
    fn functions_of_all_modules_are_counted() {
        let module = format!("(core module {})", "(func)".repeat(70_000));
        assert!(matches!(
            of(&format!("(component {})", module.repeat(2))),
            Survey::Fine(_)
        ));
        assert_eq!(
            refused(&format!("(component {})", module.repeat(3))),
            "the component has 210000 functions or more, and 200000 are the most that is compiled"
        );
    }

    #[test]
    fn names_are_bounded() {
        let import = |n: usize| format!("(import \"a:b/c{n}\" (instance))");
        let many: String = (0..=MAX_INTERFACES).map(import).collect();
        assert!(refused(&format!("(component {many})")).contains("imports and exports"));
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        for bytes in [&b"text"[..], b"\0asm", b"\0asm\x0d\0\x01\0\x01"] {
            assert!(survey(bytes).is_err(), "{bytes:?}");
        }
        // Elsewhere what is cut may look whole: the engine refuses it then.
        let whole = wat::parse_str(nested("loop", 3)).unwrap();
        for cut in 0..whole.len() {
            drop(survey(whole.split_at(cut).0));
        }
    }

    /// Components as text or as bytes: what the loader reads before it compiles anything.
    #[test]
    fn fuzz_component() {
        let words = [
            "(component ",
            "(core module ",
            "(func ",
            "(loop ",
            "(import \"a:b/c@0.1.0\" ",
            "(export ",
            "(instance",
            "(type ",
            "(memory 65536)",
            ")",
            "\0asm",
            "\r\0\u{1}\0",
            "\u{1}\0\0\0",
        ];
        fuzz("component", &words, |input| {
            let component = wat::parse_bytes(input).unwrap_or(input.into());
            if let Ok(Survey::Fine(names)) = survey(&component) {
                assert!(!is_long(&names));
            }
        });
    }
}
