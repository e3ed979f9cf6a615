//! The one crate that knows Python: bytes in, bytes out, the GIL released wherever there is work. It decides nothing.

mod engine;
mod heartbeats;
mod kernel;
mod simulated;
mod wal;

use openbourse_pipeline::ITSELF;
use pyo3::prelude::*;

#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("ITSELF", ITSELF)?;
    module.add("Fatal", module.py().get_type::<engine::Fatal>())?;
    module.add_class::<engine::Engine>()?;
    module.add_class::<engine::Replay>()?;
    module.add_class::<engine::Backlog>()?;
    module.add_function(wrap_pyfunction!(engine::make_snapshot, module)?)?;
    module.add_function(wrap_pyfunction!(engine::retain, module)?)?;
    module.add_function(wrap_pyfunction!(engine::begin_log, module)?)?;
    module.add_class::<heartbeats::Heartbeats>()?;
    module.add_class::<kernel::Kernel>()?;
    module.add_class::<simulated::SimulatedDisk>()?;
    module.add_class::<wal::Verified>()?;
    module.add_class::<wal::Records>()?;
    module.add_function(wrap_pyfunction!(wal::verify, module)?)?;
    module.add_function(wrap_pyfunction!(wal::segment_root, module)?)?;
    Ok(())
}
