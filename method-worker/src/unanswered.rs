//! A slot that is nowhere along the delegation chain.
//!
//! Called, it is a message that nobody understands; in every other use it is a missing slot. Python decides which only
//! after the name was read, hence an object for the time in between. Two uses cannot be told apart from a value:
//! `is` and `isinstance`, which ask nothing of their operand.

use pyo3::basic::CompareOp;
use pyo3::exceptions::{PyAttributeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use shared::id::ObjectId;

use crate::send;

#[pyclass(frozen, immutable_type, name = "unanswered", module = "image")]
pub struct Unanswered {
    pub receiver: ObjectId,
    pub selector: String,
}

type Never = PyResult<Py<PyAny>>;
type Any<'a, 'py> = &'a Bound<'py, PyAny>;

impl Unanswered {
    pub fn message(&self) -> String {
        format!("{} has no slot '{}'", self.receiver, self.selector)
    }

    fn refuse<T>(&self) -> PyResult<T> {
        Err(PyAttributeError::new_err(self.message()))
    }
}

#[pymethods]
#[rustfmt::skip]
impl Unanswered {
    #[pyo3(signature = (*arguments, **named))]
    fn __call__(&self, arguments: &Bound<'_, PyTuple>, named: Option<&Bound<'_, PyDict>>) -> Never {
        if named.is_some_and(|named| !named.is_empty()) {
            return Err(PyTypeError::new_err(format!("{}: a message has no named arguments", self.message())));
        }
        send::miss(self.receiver, &self.selector, arguments)
    }

    fn __getattr__(&self, _name: &str) -> Never { self.refuse() }
    fn __setattr__(&self, _name: &str, _value: Any) -> PyResult<()> { self.refuse() }
    fn __delattr__(&self, _name: &str) -> PyResult<()> { self.refuse() }
    fn __bool__(&self) -> PyResult<bool> { self.refuse() }
    fn __len__(&self) -> PyResult<usize> { self.refuse() }
    fn __hash__(&self) -> PyResult<u64> { self.refuse() }
    fn __str__(&self) -> PyResult<String> { self.refuse() }
    fn __repr__(&self) -> PyResult<String> { self.refuse() }
    fn __format__(&self, _spec: &str) -> PyResult<String> { self.refuse() }
    fn __richcmp__(&self, _other: Any, _op: CompareOp) -> Never { self.refuse() }
    fn __iter__(&self) -> Never { self.refuse() }
    fn __next__(&self) -> Never { self.refuse() }
    fn __reversed__(&self) -> Never { self.refuse() }
    fn __contains__(&self, _item: Any) -> PyResult<bool> { self.refuse() }
    fn __getitem__(&self, _key: Any) -> Never { self.refuse() }
    fn __setitem__(&self, _key: Any, _value: Any) -> PyResult<()> { self.refuse() }
    fn __delitem__(&self, _key: Any) -> PyResult<()> { self.refuse() }
    fn __index__(&self) -> Never { self.refuse() }
    fn __int__(&self) -> Never { self.refuse() }
    fn __float__(&self) -> PyResult<f64> { self.refuse() }
    fn __round__(&self, _digits: Option<i32>) -> Never { self.refuse() }
    fn __neg__(&self) -> Never { self.refuse() }
    fn __pos__(&self) -> Never { self.refuse() }
    fn __abs__(&self) -> Never { self.refuse() }
    fn __invert__(&self) -> Never { self.refuse() }
    fn __add__(&self, _other: Any) -> Never { self.refuse() }
    fn __radd__(&self, _other: Any) -> Never { self.refuse() }
    fn __sub__(&self, _other: Any) -> Never { self.refuse() }
    fn __rsub__(&self, _other: Any) -> Never { self.refuse() }
    fn __mul__(&self, _other: Any) -> Never { self.refuse() }
    fn __rmul__(&self, _other: Any) -> Never { self.refuse() }
    fn __matmul__(&self, _other: Any) -> Never { self.refuse() }
    fn __rmatmul__(&self, _other: Any) -> Never { self.refuse() }
    fn __truediv__(&self, _other: Any) -> Never { self.refuse() }
    fn __rtruediv__(&self, _other: Any) -> Never { self.refuse() }
    fn __floordiv__(&self, _other: Any) -> Never { self.refuse() }
    fn __rfloordiv__(&self, _other: Any) -> Never { self.refuse() }
    fn __mod__(&self, _other: Any) -> Never { self.refuse() }
    fn __rmod__(&self, _other: Any) -> Never { self.refuse() }
    fn __divmod__(&self, _other: Any) -> Never { self.refuse() }
    fn __rdivmod__(&self, _other: Any) -> Never { self.refuse() }
    fn __pow__(&self, _other: Any, _modulo: Option<Any>) -> Never { self.refuse() }
    fn __rpow__(&self, _other: Any, _modulo: Option<Any>) -> Never { self.refuse() }
    fn __lshift__(&self, _other: Any) -> Never { self.refuse() }
    fn __rlshift__(&self, _other: Any) -> Never { self.refuse() }
    fn __rshift__(&self, _other: Any) -> Never { self.refuse() }
    fn __rrshift__(&self, _other: Any) -> Never { self.refuse() }
    fn __and__(&self, _other: Any) -> Never { self.refuse() }
    fn __rand__(&self, _other: Any) -> Never { self.refuse() }
    fn __or__(&self, _other: Any) -> Never { self.refuse() }
    fn __ror__(&self, _other: Any) -> Never { self.refuse() }
    fn __xor__(&self, _other: Any) -> Never { self.refuse() }
    fn __rxor__(&self, _other: Any) -> Never { self.refuse() }
}
