//! `async-openai` against llmtor. OPENAI_BASE_URL and OPENAI_API_KEY say where (`llmtor env`).

use std::error::Error;

use async_openai::Client;
use async_openai::config::OpenAIConfig;
use async_openai::types::chat::{
    ChatCompletionRequestUserMessageArgs, CreateChatCompletionRequest, CreateChatCompletionRequestArgs,
};
use futures_util::StreamExt as _;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // Reads OPENAI_BASE_URL and OPENAI_API_KEY.
    let client = Client::with_config(OpenAIConfig::default());

    // Plain.
    let answer = client.chat().create(request()?).await?;
    println!("{}", answer.choices[0].message.content.as_deref().unwrap_or_default());

    // Streaming.
    let mut stream = client.chat().create_stream(request()?).await?;
    while let Some(chunk) = stream.next().await {
        for choice in chunk?.choices {
            print!("{}", choice.delta.content.unwrap_or_default());
        }
    }
    println!();
    Ok(())
}

fn request() -> Result<CreateChatCompletionRequest, Box<dyn Error>> {
    let model = std::env::var("MODEL").unwrap_or_else(|_| "gpt-4.1-mini".into());
    let message = ChatCompletionRequestUserMessageArgs::default().content("Count to 5, please.").build()?;
    Ok(CreateChatCompletionRequestArgs::default().model(model).messages([message.into()]).build()?)
}
