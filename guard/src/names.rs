//! The tables of names: what may be called, read and followed. Whatever is neither here nor in `vocabulary` is denied.

use std::cell::RefCell;

pub(crate) use vocabulary::MARKER;
use vocabulary::{DATETIME, EXCEPTIONS, FUNCTIONS, MODULES, PRIVATE_SELECTORS};

/// Types that may stand in an annotation.
const TYPES: &[&str] = &[
    "bool",
    "bytes",
    "dict",
    "float",
    "frozenset",
    "int",
    "list",
    "set",
    "str",
    "tuple",
];

/// What the method-worker preloads: the only attributes of the only modules.
const MATH: &[&str] = &[
    "atan2", "ceil", "cos", "e", "exp", "fabs", "floor", "gcd", "hypot", "inf", "isinf", "isnan", "isqrt",
    "log", "log10", "log2", "pi", "pow", "prod", "sin", "sqrt", "tan", "trunc",
];

/// Attributes of builtin types themselves, as in `map(str.upper, words)`.
const TYPE_ATTRIBUTES: &[(&str, &str)] = &[
    ("bytes", "fromhex"),
    ("dict", "fromkeys"),
    ("int", "from_bytes"),
    ("str", "isalpha"),
    ("str", "isdigit"),
    ("str", "lower"),
    ("str", "strip"),
    ("str", "title"),
    ("str", "upper"),
];

/// Attributes without underscores that lead into frames, code, tracebacks and types.
const INTROSPECTION: &[&str] = &[
    "ag_await",
    "ag_code",
    "ag_frame",
    "ag_running",
    "add_note",
    "co_code",
    "co_consts",
    "co_names",
    "cr_await",
    "cr_code",
    "cr_frame",
    "cr_origin",
    "cr_running",
    "f_back",
    "f_builtins",
    "f_code",
    "f_globals",
    "f_lasti",
    "f_lineno",
    "f_locals",
    "f_trace",
    "func_closure",
    "func_code",
    "func_defaults",
    "func_globals",
    "gi_code",
    "gi_frame",
    "gi_running",
    "gi_suspended",
    "gi_yieldfrom",
    "im_class",
    "im_func",
    "im_self",
    "mro",
    "tb_frame",
    "tb_lasti",
    "tb_lineno",
    "tb_next",
    "with_traceback",
];

/// Methods of list, dict and set that change their receiver.
const MUTATORS: &[&str] = &[
    "add",
    "append",
    "clear",
    "difference_update",
    "discard",
    "extend",
    "insert",
    "intersection_update",
    "pop",
    "popitem",
    "remove",
    "reverse",
    "setdefault",
    "sort",
    "symmetric_difference_update",
    "update",
];

pub(crate) fn is_builtin(name: &str) -> bool {
    FUNCTIONS.contains(&name) || EXCEPTIONS.contains(&name)
}

pub(crate) fn is_type(name: &str) -> bool {
    TYPES.contains(&name)
}

thread_local! {
    /// `module.name` of what the expectation allows besides, on the thread of one check.
    static ALLOWED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// What the check on this thread allows besides the tables.
pub(crate) fn allow(names: &[String]) {
    ALLOWED.set(names.to_vec());
}

pub(crate) fn is_module(name: &str) -> bool {
    let is_allowed = |names: &Vec<String>| {
        names
            .iter()
            .any(|it| it.split_once('.').is_some_and(|it| it.0 == name))
    };
    MODULES.contains(&name) || ALLOWED.with_borrow(is_allowed)
}

pub(crate) fn is_module_attribute(module: &str, attribute: &str) -> bool {
    match module {
        "math" => MATH.contains(&attribute),
        "datetime" => DATETIME.contains(&attribute),
        _ => ALLOWED.with_borrow(|names| {
            names
                .iter()
                .any(|it| it.split_once('.') == Some((module, attribute)))
        }),
    }
}

pub(crate) fn is_type_attribute(kind: &str, attribute: &str) -> bool {
    TYPE_ATTRIBUTES.contains(&(kind, attribute))
}

/// What CPython imports modules for, which a jail has not.
pub(crate) fn is_time_text(attribute: &str) -> bool {
    matches!(attribute, "strftime" | "strptime")
}

pub(crate) fn is_introspection(attribute: &str) -> bool {
    INTROSPECTION.contains(&attribute)
}

pub(crate) fn is_mutator(attribute: &str) -> bool {
    MUTATORS.contains(&attribute)
}

/// A name with a leading underscore that is not one of the system's own selectors.
pub(crate) fn is_private(name: &str) -> bool {
    name.starts_with('_') && !PRIVATE_SELECTORS.contains(&name)
}

/// What to write instead of a name that is often reached for.
pub(crate) fn instead_of(name: &str) -> &'static str {
    match name {
        "print" => "return the text instead",
        "input" => "take the text as a parameter",
        "open" => "a method has no files; keep state in slots",
        "type" => "use isinstance(value, kind)",
        "getattr" | "setattr" | "delattr" | "hasattr" | "vars" | "dir" => "name the slot: self.slot",
        "eval" | "exec" | "compile" => "write the expression itself",
        "super" => {
            "send the message to self; parents are found by delegation, and self.resend(…) goes on to the next holder"
        }
        "iter" | "next" => "use a for loop",
        "object" | "id" | "hash" => "compare the values themselves",
        "cls" => "there are no classes; clone a prototype",
        "time" | "random" | "os" | "sys" | "json" | "re" => "only math and datetime are there",
        "NotImplementedError" => "write the whole method, or raise RuntimeError",
        "hex" | "bin" | "oct" | "format" | "ascii" => "use an f-string, such as f\"{value:x}\"",
        _ => "take it as a parameter, read it from a slot of self, or send a message to self",
    }
}
