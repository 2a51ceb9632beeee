//! A conversation as the text that the model was trained on: the checkpoint's own Jinja template.

use std::borrow::Cow;

use minijinja::{Environment, Error, ErrorKind, context};
use shared::inference::ChatMessage;

use crate::checkpoint::Checkpoint;

/// A template that loops is ended after so many instructions.
const FUEL: u64 = 5_000_000;

/// The whole text: the conversation up to where the answer begins, and `begun` after it. Without messages, `begun` alone.
pub fn prompt<'a, M>(
    checkpoint: &Checkpoint<M>,
    messages: &[ChatMessage],
    begun: &'a str,
) -> Result<Cow<'a, str>, String> {
    if messages.is_empty() {
        return Ok(begun.into());
    }
    let Some(template) = &checkpoint.chat_template else {
        return Err("this model has no chat template: give it a prompt instead of messages".into());
    };
    let text_of = |id: Option<u32>| {
        id.and_then(|id| checkpoint.tokenizer.id_to_token(id))
            .unwrap_or_default()
    };
    let begin = text_of(checkpoint.begin);
    let end = text_of(checkpoint.ends.first().copied());
    let mut text = render(template, messages, &begin, &end)?;
    text.push_str(begun);
    Ok(text.into())
}

fn render(template: &str, messages: &[ChatMessage], begin: &str, end: &str) -> Result<String, String> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_fuel(Some(FUEL));
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", |what: String| {
        Err::<String, _>(Error::new(ErrorKind::InvalidOperation, what))
    });
    environment
        .render_str(
            template,
            context! {
                messages,
                bos_token => begin,
                eos_token => end,
                add_generation_prompt => true,
            },
        )
        .map_err(|error| format!("the model's chat template refuses this conversation: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(role: &str, content: &str) -> ChatMessage {
        ChatMessage {
            role: role.into(),
            content: content.into(),
        }
    }

    #[test]
    fn a_template_of_the_llama_3_kind_is_followed() {
        let template = "{% set loop_messages = messages %}{% for message in loop_messages %}\
            {% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' %}\
            {% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}\
            {% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}";
        let text = render(
            template,
            &[message("system", "Be brief."), message("user", " Hi ")],
            "<|begin|>",
            "<|eot_id|>",
        );
        assert_eq!(
            text.unwrap(),
            "<|begin|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>\
             <|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
        );
    }

    #[test]
    fn what_a_template_raises_and_a_loop_without_end_are_errors() {
        let refusing =
            "{% if messages[0].role.startswith('sys') %}{{ raise_exception('no system') }}{% endif %}";
        let error = render(refusing, &[message("system", "x")], "", "").unwrap_err();
        assert!(error.contains("no system"), "{error}");
        let endless =
            "{% for a in range(9999) %}{% for b in range(9999) %}{{ a * b }}{% endfor %}{% endfor %}";
        assert!(render(endless, &[message("user", "x")], "", "").is_err());
    }
}
