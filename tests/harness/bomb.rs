//! Components whose compilation costs far more than their size suggests.

/// The sections of a component that exports an empty handler under its name.
const AGENT: &str =
    r#"(component (instance $i) (export "mistersmith:agent/handler@0.1.0" (instance $i)))"#;

/// A component with the exports of an agent and `functions` functions, each with `loops` nested
/// loops.
pub fn bomb(functions: usize, loops: usize) -> Vec<u8> {
    let mut body = vec![0];
    body.extend([0x03, 0x40].repeat(loops));
    body.extend(vec![0x0b; loops + 1]);
    let body = [leb(body.len()), body].concat();
    let count = leb(functions);
    let module = [
        b"\0asm\x01\0\0\0".to_vec(),
        section(1, &[1, 0x60, 0, 0]),
        section(3, &[count.clone(), vec![0; functions]].concat()),
        section(10, &[count, body.repeat(functions)].concat()),
    ]
    .concat();
    let agent = wat::parse_str(AGENT).unwrap();
    // After magic number and version; sections of a component have no order.
    let (head, rest) = agent.split_at(8);
    [head, &section(1, &module), rest].concat()
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [vec![id], leb(content.len()), content.to_vec()].concat()
}

/// LEB128, unsigned.
fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).unwrap();
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}
