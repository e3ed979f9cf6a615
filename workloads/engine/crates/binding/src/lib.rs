//! The one crate that knows Python.
use pyo3::prelude::*;

mod kernel;

#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<kernel::Kernel>()?;
    Ok(())
}
