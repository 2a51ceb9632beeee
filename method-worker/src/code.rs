//! From source to function. Code objects are immutable and are kept between runs; functions and their globals are not.

use std::cell::RefCell;
use std::collections::HashMap;

use pyo3::exceptions::PySyntaxError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyCode, PyCodeMethods, PyList};

use crate::globals;
use crate::proxy::Method;
use crate::run;
use crate::tree;

/// `PyCF_ONLY_AST` of CPython's `compile`.
const ONLY_AST: u32 = 0x400;
/// Beyond it the cache starts afresh: sources come from outside.
const MAX_CACHED: usize = 4096;

/// A compiled method.
struct Compiled {
    code: Py<PyCode>,
    /// The name after `def`; the selector is the slot's name.
    name: String,
    source: String,
}

#[derive(Default)]
struct Cache {
    /// By selector, then source.
    places: HashMap<String, HashMap<String, usize>>,
    compiled: Vec<Compiled>,
}

/// `builtins.compile`, taken during the rehearsal: inside a method CPython's import asks the method's own builtins.
static COMPILE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

thread_local! {
    static CACHE: RefCell<Cache> = RefCell::default();
}

/// The function of this run for that method; the method knows its place from now on.
pub fn function<'py>(py: Python<'py>, method: &Method) -> PyResult<Bound<'py, PyAny>> {
    let selector = &*method.selector;
    let place = place(py, selector, &method.source)?;
    let place = *method.code_place.get_or_init(|| place);
    let made = |run: &mut run::Run| {
        Ok(run
            .functions
            .get(place)
            .and_then(|f| Some(f.as_ref()?.clone_ref(py))))
    };
    if let Some(function) = run::with(made)? {
        return Ok(function.into_bound(py));
    }
    let (code, name) = CACHE.with_borrow(|cache| {
        let compiled = &cache.compiled[place];
        (compiled.code.clone_ref(py), compiled.name.clone())
    });
    let globals = globals::fresh(py)?;
    code.bind(py).run(Some(&globals), None)?;
    let function = globals
        .get_item(&name)?
        .ok_or_else(|| not_one_function(selector))?;
    run::with(|run| {
        if run.functions.len() <= place {
            run.functions.resize_with(place + 1, || None);
        }
        run.functions[place] = Some(function.clone().unbind());
        Ok(())
    })?;
    Ok(function)
}

/// Selector and text of a line, for a `co_filename` that this cache has given.
pub fn line(filename: &str, line: usize) -> Option<(String, String)> {
    let (selector, place) = filename.rsplit_once('@')?;
    let place: usize = place.parse().ok()?;
    CACHE.with_borrow(|cache| {
        let source = &cache.compiled.get(place)?.source;
        let text = source.lines().nth(line.checked_sub(1)?).unwrap_or_default();
        Some((selector.to_owned(), text.trim().to_owned()))
    })
}

/// Forgets everything when there is too much; called between runs.
pub fn trim() {
    CACHE.with_borrow_mut(|cache| {
        if cache.compiled.len() > MAX_CACHED {
            *cache = Cache::default();
        }
    });
}

fn place(py: Python<'_>, selector: &str, source: &str) -> PyResult<usize> {
    if let Some(place) = CACHE.with_borrow(|cache| cache.places.get(selector)?.get(source).copied()) {
        return Ok(place);
    }
    let place = CACHE.with_borrow(|cache| cache.compiled.len());
    let (code, name) = compile(py, selector, source, &format!("{selector}@{place}"))?;
    CACHE.with_borrow_mut(|cache| {
        cache.compiled.push(Compiled {
            code: code.unbind(),
            name,
            source: source.to_owned(),
        });
        let sources = cache.places.entry(selector.to_owned()).or_default();
        sources.insert(source.to_owned(), place);
    });
    Ok(place)
}

fn compile<'py>(
    py: Python<'py>,
    selector: &str,
    source: &str,
    filename: &str,
) -> PyResult<(Bound<'py, PyCode>, String)> {
    let compile = COMPILE
        .get_or_try_init(py, || {
            Ok::<_, PyErr>(py.import("builtins")?.getattr("compile")?.unbind())
        })?
        .bind(py);
    let tree = compile.call1((source, filename, "exec", ONLY_AST, true))?;
    let body = tree.getattr("body")?.cast_into::<PyList>()?;
    let definition = match body.len() {
        1 => body.get_item(0)?,
        _ => return Err(not_one_function(selector)),
    };
    if definition.get_type().name()? != "FunctionDef" || !definition.getattr("decorator_list")?.is_empty()? {
        return Err(not_one_function(selector));
    }
    if run::with(|run| Ok(run.take_candidate(selector)))? {
        tree::judge(&tree)?;
    }
    let name: String = definition.getattr("name")?.extract()?;
    let code = compile
        .call1((tree, filename, "exec", 0, true))?
        .cast_into::<PyCode>()?;
    Ok((code, name))
}

fn not_one_function(selector: &str) -> PyErr {
    PySyntaxError::new_err(format!(
        "the source of '{selector}' is not exactly one undecorated function"
    ))
}
