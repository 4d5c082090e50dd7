//! The rules of the contract that the model enforces, as constants.

use refan_program::Rule;

macro_rules! rules {
    ($($chapter:ident: $($name:ident = $number:literal),*;)*) => {
        $($(pub(crate) const $name: Rule = Rule::named(
            stringify!($chapter).as_bytes()[0] as char, $number);)*)*
    };
}

rules! {
    I: I1 = 1, I3 = 3;
    C: C1 = 1, C2 = 2, C3 = 3, C4 = 4, C5 = 5, C6 = 6;
    M: M1 = 1, M2 = 2, M3 = 3, M4 = 4;
    Q: Q1 = 1, Q2 = 2, Q3 = 3, Q4 = 4, Q5 = 5, Q6 = 6, Q7 = 7, Q8 = 8, Q9 = 9, Q10 = 10;
    R: R1 = 1, R2 = 2, R3 = 3, R4 = 4, R5 = 5, R6 = 6, R7 = 7, R8 = 8, R9 = 9, R10 = 10, R11 = 11;
    K: K1 = 1, K2 = 2, K3 = 3, K4 = 4;
    S: S1 = 1, S2 = 2, S4 = 4;
    X: X1 = 1, X2 = 2, X3 = 3, X4 = 4;
    F: F1 = 1, F2 = 2;
    A: A1 = 1, A2 = 2, A3 = 3;
}

/// What holds for groups without the flag, and for everything that has nothing to do with it.
pub(crate) const MAINLINE: Rule = Rule::named('I', 4);
/// What holds for a restartable group's init flags and file flags.
pub(crate) const CONTROL_FLAGS: Rule = Rule::named('I', 2);
