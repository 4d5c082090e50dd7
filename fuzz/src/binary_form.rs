//! The decoder of programs: any bytes are a valid program, of which there is one form.

use refan_program::{Program, parse};

/// Decodes bytes.
pub fn check(data: &[u8]) {
    let program = Program::decode(data);
    assert_eq!(program.validate(), Ok(()));
    let form = program.encode();
    assert_eq!(Program::decode(&form), program);
    assert_eq!(Program::decode_exact(&form).as_ref(), Ok(&program));
    if let Ok(exact) = Program::decode_exact(data) {
        assert_eq!((form.as_slice(), &exact), (data, &program));
    }
    let text = program.to_string();
    assert_eq!(parse(&text), Ok(program), "{text}");
}
