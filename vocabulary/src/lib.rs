//! What one Python method may name without binding it. The guard judges a candidate by these tables, and the jail, with another parser, once
//! more: this is the one place where they stand.
//!
//! Non-goals: anything but names; who judges has its own rules for the rest.
#![no_std]
#![forbid(unsafe_code)]

/// Builtins that a method may use.
pub const FUNCTIONS: &[&str] = &[
    "abs",
    "all",
    "any",
    "bool",
    "bytes",
    "chr",
    "dict",
    "divmod",
    "enumerate",
    "filter",
    "float",
    "frozenset",
    "int",
    "isinstance",
    "len",
    "list",
    "map",
    "max",
    "min",
    "ord",
    "pow",
    "range",
    "repr",
    "reversed",
    "round",
    "set",
    "sorted",
    "str",
    "sum",
    "tuple",
    "zip",
];

/// Exceptions that a method may raise and catch.
pub const EXCEPTIONS: &[&str] = &[
    "ArithmeticError",
    "AttributeError",
    "Exception",
    "IndexError",
    "KeyError",
    "LookupError",
    "RuntimeError",
    "StopIteration",
    "TypeError",
    "ValueError",
    "ZeroDivisionError",
];

/// Modules that every method finds.
pub const MODULES: &[&str] = &["math", "datetime"];

/// What a method finds of `datetime`.
pub const DATETIME: &[&str] = &["datetime", "timedelta", "timezone"];

/// The marker of the persistence covenant.
pub const MARKER: &str = "_p_changed";

/// Selectors of the system itself that begin with an underscore; a method may bear and send them.
pub const PRIVATE_SELECTORS: &[&str] = &["_process_synthesis_"];
