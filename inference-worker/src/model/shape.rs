//! The sizes of a model, checked before anything is allocated by them.

pub const MAX_HEAD_DIMENSION: usize = 512;

/// Sizes that make a Llama model: see [`Shape::check`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    pub hidden: usize,
    pub inner: usize,
    pub vocabulary: usize,
    pub layers: usize,
    pub heads: usize,
    pub key_value_heads: usize,
    pub head_dimension: usize,
    pub norm_epsilon: f32,
    pub context_tokens: usize,
}

impl Shape {
    /// Which size is not one of a Llama model, if any.
    pub fn check(&self) -> Result<(), String> {
        let within = |name: &str, value: usize, least: usize, most: usize| {
            if (least..=most).contains(&value) {
                Ok(())
            } else {
                Err(format!("its {name} is {value}, not within {least} and {most}"))
            }
        };
        within("hidden size", self.hidden, 16, 16_384)?;
        within("intermediate size", self.inner, 16, 65_536)?;
        within("vocabulary", self.vocabulary, 2, 262_144)?;
        within("number of layers", self.layers, 1, 256)?;
        within("number of attention heads", self.heads, 1, 256)?;
        within("number of key-value heads", self.key_value_heads, 1, self.heads)?;
        within("head dimension", self.head_dimension, 2, MAX_HEAD_DIMENSION)?;
        within("context", self.context_tokens, 16, 1 << 20)?;
        if !self.heads.is_multiple_of(self.key_value_heads) {
            return Err(format!(
                "{} attention heads cannot share {} key-value heads",
                self.heads, self.key_value_heads
            ));
        }
        if !self.head_dimension.is_multiple_of(2) {
            return Err(format!("its head dimension {} is odd", self.head_dimension));
        }
        if !(self.norm_epsilon > 0.0 && self.norm_epsilon < 0.1) {
            return Err(format!("its rms_norm_eps is {}", self.norm_epsilon));
        }
        Ok(())
    }
}
