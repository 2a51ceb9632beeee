//! Where the model runs.

use std::fmt;
use std::str::FromStr;

use candle_core::{DType, Device};

/// Asked for on the command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// On an accelerator, if this program was built for one and there is one; else on the processor.
    #[default]
    Auto,
    Processor,
    /// The accelerator of this number.
    Cuda(usize),
    /// The accelerator's code on the processor: slow, and the same for tests.
    #[cfg(test)]
    Rehearsal,
}

/// An accelerator, and the numbers it computes with.
pub type Accelerator = (Device, DType);

impl Place {
    /// None is the processor. Fails where an accelerator was asked for and there is none.
    pub fn open(self) -> Result<Option<Accelerator>, String> {
        match self {
            Place::Processor => Ok(None),
            Place::Auto if !candle_core::utils::cuda_is_available() => Ok(None),
            Place::Auto => match cuda(0) {
                Ok(found) => Ok(Some(found)),
                Err(what) => {
                    tracing::warn!("{what}; the model runs on the processor");
                    Ok(None)
                }
            },
            Place::Cuda(_) if !candle_core::utils::cuda_is_available() => Err(
                "this inference-worker was built for processors; docs/gpu.md says how one for CUDA is built"
                    .into(),
            ),
            Place::Cuda(number) => cuda(number).map(Some),
            #[cfg(test)]
            Place::Rehearsal => Ok(Some((Device::Cpu, DType::F32))),
        }
    }
}

fn cuda(number: usize) -> Result<Accelerator, String> {
    match Device::new_cuda(number) {
        Ok(device) => Ok((device, DType::BF16)),
        Err(error) => Err(format!("the accelerator cuda:{number} cannot be used: {error}")),
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        match text.split_once(':').unwrap_or((text, "0")) {
            ("auto", "0") => Ok(Place::Auto),
            ("cpu", "0") => Ok(Place::Processor),
            ("cuda", number) => match number.parse() {
                Ok(number) => Ok(Place::Cuda(number)),
                Err(_) => Err(format!("'{number}' is not the number of an accelerator")),
            },
            _ => Err("auto, cpu, cuda, or cuda:N for the Nth accelerator".into()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Auto => f.write_str("auto"),
            Place::Processor => f.write_str("cpu"),
            Place::Cuda(number) => write!(f, "cuda:{number}"),
            #[cfg(test)]
            Place::Rehearsal => f.write_str("rehearsal"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_written() {
        for place in [Place::Auto, Place::Processor, Place::Cuda(3)] {
            assert_eq!(place.to_string().parse(), Ok(place));
        }
        assert_eq!("cuda".parse(), Ok(Place::Cuda(0)));
        for wrong in ["", "gpu", "cuda:", "cuda:-1", "cpu:1"] {
            assert!(wrong.parse::<Place>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_accelerator_that_is_not_there_is_refused() {
        // Far beyond what any machine has, for programs that were built for one.
        assert!(Place::Cuda(1000).open().is_err());
        assert!(Place::Processor.open().unwrap().is_none());
    }
}
