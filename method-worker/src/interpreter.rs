//! CPython, started isolated: no site, no environment, no user folders; warmed until it needs no file any more.
#![allow(unsafe_code)]

use std::ffi::CStr;

use pyo3::ffi;
use pyo3::prelude::*;
use shared::activation::{Mode, Run};
use shared::id::{ObjectId, TransactionId};
use shared::object::{ObjectImage, SlotImage};
use shared::value::{BlobRef, Value};

/// Python frames inside one another; 500 sends take two each.
const RECURSION_LIMIT: u32 = 2500;

/// Modules that code of a method can need without importing them: times, `\N{…}` names, formatting.
const PRELOADED: &[&str] = &["math", "datetime", "unicodedata", "_string"];

/// Encodings that `str.encode` and `bytes.decode` know; any other is a LookupError.
const ENCODINGS: &[&str] = &[
    "ascii",
    "latin-1",
    "utf-8",
    "utf-8-sig",
    "utf-16",
    "utf-16-le",
    "utf-16-be",
    "utf-32",
    "utf-32-le",
    "utf-32-be",
    "utf-7",
    "cp1252",
    "cp437",
    "iso8859-15",
    "unicode-escape",
    "raw-unicode-escape",
];

/// Sources that go through what a run may do: values, formatting, big integers, errors with their traceback.
pub const REHEARSALS: &[&str] = &[
    "def rehearse(self):\n    self.n = 2 ** 200\n    self.items.append([1.5, 'ä', {'k': self, 1: b'b'}])\n    \
     t = f'{1.5:.2f} {10**30:,} {self!r} \\N{BULLET}' + '%5.1f' % 2.5 + str(2 ** 200) + repr(0.1)\n    \
     t = t.upper().casefold() + ' '.join(sorted(['b', 'a'])) + 'é'.encode('utf-16').decode('utf-16')\n    \
     t = t + str(math.sqrt(2)) + '{:>8}'.format(int('12')) + str(float('1e10')) + str(round(1.25, 1))\n    \
     c = primitive('child', self) if False else self\n    self._p_changed = True\n    \
     return [t, c, primitive('slot_names', self), primitive('all_slots', self), self.again(3)]\n",
    "def rehearse(self):\n    t = self.at + datetime.timedelta(days=1)\n    self.at = t\n    self.seen = [self.file, t]\n    \
     zone = datetime.timezone(datetime.timedelta(hours=2))\n    self._p_changed = True\n    \
     return [t.isoformat(), str(t.astimezone(zone)), repr(self.file), t, t.replace(tzinfo=zone), t.date().isoformat()]\n",
    "def rehearse(self):\n    try:\n        self.absent + 1\n    except AttributeError:\n        return 1 / 0\n",
    "def rehearse(self):\n    self['a'] = [1]\n    self['a'].append(2)\n    primitive('add', self, ('n', 1.5), 1)\n    \
     primitive('append', self, self['a'])\n    del self['a']\n    ranges = [primitive('items', self), iter(self), reversed(self)]\n    \
     try:\n        return self['a']\n    except KeyError:\n        return [bool(self), repr(ranges[0]), 'a' in self]\n",
    "def rehearse(self):\n    return self.absent(1, 'two')\n",
];

/// Starts CPython. Called once; the calling thread holds the GIL from here on.
pub fn start() -> Result<(), String> {
    let mut config = std::mem::MaybeUninit::<ffi::PyConfig>::uninit();
    // SAFETY: `PyConfig_InitIsolatedConfig` initialises the whole structure at the pointer it gets, which is valid and
    // aligned. The fields written afterwards are plain integers of it. `Py_InitializeFromConfig` is called on the main
    // thread, before any other use of the interpreter, and `PyConfig_Clear` frees what the config holds.
    unsafe {
        ffi::PyConfig_InitIsolatedConfig(config.as_mut_ptr());
        let config = &mut *config.as_mut_ptr();
        config.site_import = 0;
        config.write_bytecode = 0;
        config.install_signal_handlers = 0;
        config.pathconfig_warnings = 0;
        config.faulthandler = 0;
        // The same order of sets in every worker: a replayed activation does the same again.
        config.use_hash_seed = 1;
        config.hash_seed = 0;
        let status = ffi::Py_InitializeFromConfig(config);
        ffi::PyConfig_Clear(config);
        match ffi::PyStatus_Exception(status) {
            0 => Ok(()),
            _ => Err(message(&status)),
        }
    }
}

/// Such as `3.11`: of the library, which need not have been started.
pub fn library() -> String {
    // SAFETY: CPython documents that this may be called at any time, and that the text is its own for ever.
    let text = unsafe { CStr::from_ptr(ffi::Py_GetVersion()) }.to_string_lossy();
    let mut parts = text.split(['.', ' ']);
    format!(
        "{}.{}",
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default()
    )
}

/// Such as `3.11.2`.
pub fn version(py: Python<'_>) -> String {
    let version = py.version_info();
    format!("{}.{}.{}", version.major, version.minor, version.patch)
}

/// Lets modules of that folder be found, after Python's own, and loads those that are named.
pub fn load(py: Python<'_>, packages: &str, modules: &[&str]) -> PyResult<()> {
    py.import("sys")?
        .getattr("path")?
        .call_method1("append", (packages,))?;
    for module in modules {
        py.import(*module)?;
    }
    Ok(())
}

/// Loads what is left to load, shuts the doors of the import system, and hides what is loaded from the collector.
pub fn settle(py: Python<'_>) -> PyResult<()> {
    for name in PRELOADED {
        py.import(*name)?;
    }
    let codecs = py.import("codecs")?;
    for name in ENCODINGS {
        codecs.call_method1("lookup", (*name,))?;
    }
    let (sys, gc) = (py.import("sys")?, py.import("gc")?);
    sys.call_method1("setrecursionlimit", (RECURSION_LIMIT,))?;
    for stream in [
        "stdin",
        "stdout",
        "stderr",
        "__stdin__",
        "__stdout__",
        "__stderr__",
    ] {
        sys.setattr(stream, py.None())?;
    }
    for list in ["path", "meta_path", "path_hooks"] {
        sys.getattr(list)?.call_method0("clear")?;
    }
    gc.call_method0("collect")?;
    gc.call_method0("freeze")?;
    Ok(())
}

/// Frees what is only held by its own cycle.
pub fn collect(_held: Python<'_>) {
    // SAFETY: the GIL is held, as `_held` shows. Finalisers may run; no borrow of the run is alive in the caller.
    unsafe { ffi::PyGC_Collect() };
}

/// A message to a made-up object, carried out before the jail is closed.
pub fn rehearsal(source: &str) -> Run {
    let again = "def again(self, n):\n    return n if n < 1 else self.again(n - 1)\n";
    let slot = |name: &str, value| SlotImage {
        name: name.to_owned(),
        value,
        changed: TransactionId(0),
    };
    let object = |id, slots| ObjectImage {
        id: ObjectId(id),
        version: TransactionId(0),
        slots,
    };
    let child = vec![
        slot("parents", Value::List(vec![Value::Ref(ObjectId(2))])),
        slot("rehearse", Value::Method(source.to_owned())),
    ];
    let blob = BlobRef {
        digest: [0; 32],
        bytes: 0,
    };
    let parent = vec![
        slot("items", Value::List(vec![Value::Int(1)])),
        slot("at", Value::Time(0)),
        slot("file", Value::Blob(blob)),
        slot("again", Value::Method(again.to_owned())),
    ];
    Run {
        receiver: ObjectId(1),
        selector: "rehearse".to_owned(),
        arguments: Vec::new(),
        objects: vec![object(1, child), object(2, parent)],
        stale: Vec::new(),
        uncommitted: Vec::new(),
        mode: Mode::Proven,
    }
}

fn message(status: &ffi::PyStatus) -> String {
    if status.err_msg.is_null() {
        return "no reason is given".to_owned();
    }
    // SAFETY: CPython documents `err_msg` as a C string that lives as long as the status.
    unsafe { CStr::from_ptr(status.err_msg) }
        .to_string_lossy()
        .into_owned()
}
