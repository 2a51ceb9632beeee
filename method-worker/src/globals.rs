//! The names that a method finds. Everything mutable is fresh for each run.

use pyo3::exceptions::PyAttributeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;
use vocabulary::{DATETIME, EXCEPTIONS, FUNCTIONS};

use crate::arguments::Allowed;
use crate::primitive;
use crate::run;
use crate::time;

/// What stands in `__builtins__` besides what candidates may name, for methods that are there already. Absent on purpose: what opens,
/// evaluates, imports, prints, or reaches into types.
const MORE_BUILTINS: &[&str] = &[
    "bin",
    "callable",
    "format",
    "hash",
    "hex",
    "iter",
    "next",
    "oct",
    "slice",
    "AssertionError",
    "FloatingPointError",
    "MemoryError",
    "NameError",
    "NotImplementedError",
    "OverflowError",
    "RecursionError",
    "SyntaxError",
    "UnicodeDecodeError",
    "UnicodeEncodeError",
    "UnicodeError",
];

/// The names of a module, which nobody can change.
#[pyclass(frozen, immutable_type, name = "module", module = "image")]
struct Module {
    name: String,
    names: Py<PyDict>,
}

#[pymethods]
impl Module {
    fn __getattr__<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        match self.names.bind(py).get_item(name)? {
            Some(function) => Ok(function),
            None => Err(PyAttributeError::new_err(format!(
                "{} has no '{name}'",
                self.name
            ))),
        }
    }

    fn __repr__(&self) -> &str {
        &self.name
    }
}

/// What is taken from the interpreter once.
struct Sources {
    builtins: Py<PyDict>,
    math: Py<Module>,
    datetime: Py<Module>,
    primitive: Py<PyAny>,
    /// Of packages that were installed for methods, by name.
    packages: Vec<Py<Module>>,
}

static SOURCES: PyOnceLock<Sources> = PyOnceLock::new();

/// Once, before the first method: methods find what is allowed of these modules, which are loaded. What is not there is an error.
pub fn prepare(py: Python<'_>, allow: &[Allowed]) -> PyResult<()> {
    let mut packages = Vec::new();
    let mut names: Vec<&str> = allow.iter().map(|allowed| allowed.module.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let shown = |wanted: &str| {
            let mut allowed = allow.iter();
            allowed.any(|it| it.module == name && it.name == wanted)
        };
        let module = module(py, name, shown)?;
        for wanted in allow.iter().filter(|allowed| allowed.module == name) {
            module.get().__getattr__(py, &wanted.name)?;
        }
        packages.push(module);
    }
    let sources = Sources {
        packages,
        ..sources(py)?
    };
    let _ = SOURCES.set(py, sources);
    Ok(())
}

/// Whether a name is that of a package that was installed for methods.
pub fn is_package(py: Python<'_>, name: &str) -> bool {
    let sources = SOURCES.get(py);
    sources.is_some_and(|sources| sources.packages.iter().any(|module| module.get().name == name))
}

/// Globals for one method in the run in progress.
pub fn fresh(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let sources = SOURCES.get_or_try_init(py, || sources(py))?;
    let builtins = match run::with(|run| Ok(run.builtins.as_ref().map(|b| b.clone_ref(py))))? {
        Some(builtins) => builtins,
        None => {
            let copy = sources.builtins.bind(py).copy()?.unbind();
            let kept = copy.clone_ref(py);
            run::with(|run| {
                run.builtins = Some(kept);
                Ok(())
            })?;
            copy
        }
    };
    let globals = PyDict::new(py);
    globals.set_item("__builtins__", builtins)?;
    globals.set_item("math", &sources.math)?;
    globals.set_item("datetime", &sources.datetime)?;
    globals.set_item("primitive", &sources.primitive)?;
    for module in &sources.packages {
        globals.set_item(&module.get().name, module)?;
    }
    Ok(globals)
}

fn sources(py: Python<'_>) -> PyResult<Sources> {
    let all = py.import("builtins")?;
    let builtins = PyDict::new(py);
    for name in FUNCTIONS.iter().chain(EXCEPTIONS).chain(MORE_BUILTINS) {
        builtins.set_item(name, all.getattr(*name)?)?;
    }
    for name in ["None", "True", "False"] {
        builtins.set_item(name, all.getattr(name)?)?;
    }
    time::prepare(py)?;
    Ok(Sources {
        builtins: builtins.unbind(),
        math: module(py, "math", |name| !name.starts_with('_'))?,
        datetime: module(py, "datetime", |name| DATETIME.contains(&name))?,
        primitive: primitive::function(py)?,
        packages: Vec::new(),
    })
}

fn module(py: Python<'_>, name: &str, is_shown: impl Fn(&str) -> bool) -> PyResult<Py<Module>> {
    let names = PyDict::new(py);
    for (name, thing) in py.import(name)?.dict() {
        if is_shown(&name.extract::<String>()?) {
            names.set_item(name, thing)?;
        }
    }
    let names = names.unbind();
    let name = name.to_owned();
    Py::new(py, Module { name, names })
}
