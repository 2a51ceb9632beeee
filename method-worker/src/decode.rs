//! Values into Python.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyFloat, PyInt, PyList, PyString};
use shared::id::ObjectId;
use shared::value::Value;

use crate::blob::Blob;
use crate::proxy::Proxy;
use crate::time;

/// Gives the one proxy of an object in this run.
pub trait Proxies {
    fn proxy<'py>(&mut self, py: Python<'py>, id: ObjectId) -> PyResult<Bound<'py, Proxy>>;
}

/// A fresh Python object that equals `value`. A method's source comes as text; callers who mean the method look before.
pub fn decode<'py>(
    py: Python<'py>,
    value: &Value,
    proxies: &mut impl Proxies,
) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Value::None => py.None().into_bound(py),
        Value::Bool(b) => b.into_pyobject(py)?.to_owned().into_any(),
        Value::Int(i) => i.into_pyobject(py)?.into_any(),
        Value::Big(digits) => py.get_type::<PyInt>().call1((digits.as_str(),))?,
        Value::Float(f) => PyFloat::new(py, *f).into_any(),
        Value::Text(text) | Value::Method(text) => PyString::new(py, text).into_any(),
        Value::Bytes(bytes) => PyBytes::new(py, bytes).into_any(),
        Value::Time(us) => time::decode(py, *us)?.into_any(),
        Value::Blob(reference) => Bound::new(
            py,
            Blob {
                reference: *reference,
            },
        )?
        .into_any(),
        Value::Ref(id) => proxies.proxy(py, *id)?.into_any(),
        Value::List(items) => {
            let list = PyList::empty(py);
            for item in items {
                list.append(decode(py, item, proxies)?)?;
            }
            list.into_any()
        }
        Value::Map(pairs) => {
            let map = PyDict::new(py);
            for (key, item) in pairs {
                map.set_item(decode(py, key, proxies)?, decode(py, item, proxies)?)?;
            }
            map.into_any()
        }
    })
}

/// True for what a method can change in place.
pub fn is_mutable(value: &Value) -> bool {
    matches!(value, Value::List(_) | Value::Map(_))
}
