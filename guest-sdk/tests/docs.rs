//! What docs/writing-plugins.md shows as a whole agent is compiled and tested: here it is compared.

const DOCS: &str = include_str!("../../docs/writing-plugins.md");
const GREETER: &str = include_str!("greeter.rs");

#[test]
fn the_agent_of_the_docs_is_the_one_that_is_tested() {
    let blocks = DOCS.split("```rust\n").skip(1);
    let blocks = blocks.filter_map(|rest| rest.split_once("```").map(|(block, _)| block));
    let whole: Vec<&str> = blocks
        .filter(|block| block.contains("impl Agent") || block.contains("#[test]"))
        .collect();
    assert_eq!(whole.len(), 2, "an agent and its test");
    for block in whole {
        assert!(
            GREETER.contains(block),
            "guest-sdk/tests/greeter.rs lacks:\n{block}"
        );
    }
}
