//! JSON Schemas of what the readers of this room take, for the API description. `{"$ref": NAME}` is another of these.
//!
//! They say what is taken for sure. The readers take more where clients differ: unknown keys, `null` for absent, an empty
//! text beside one that is not.

/// A name and its schema.
pub type Component = (&'static str, &'static str);

/// All of them.
pub const COMPONENTS: &[Component] = &[
    (
        "ChatMessage",
        r#"{"oneOf":[{"$ref":"SystemMessage"},{"$ref":"UserMessage"},{"$ref":"AssistantMessage"},{"$ref":"ToolMessage"}]}"#,
    ),
    (
        "SystemMessage",
        r#"{"type":"object","required":["role","content"],"properties":{"role":{"enum":["system","developer"]},"name":{"type":"string"},"content":{"anyOf":[{"type":"string","minLength":1},{"type":"array","minItems":1,"items":{"$ref":"TextPart"}}]}}}"#,
    ),
    (
        "UserMessage",
        r#"{"type":"object","required":["role","content"],"properties":{"role":{"const":"user"},"name":{"type":"string"},"content":{"anyOf":[{"type":"string","minLength":1},{"type":"array","minItems":1,"items":{"anyOf":[{"$ref":"TextPart"},{"$ref":"ImagePart"}]}}]}}}"#,
    ),
    (
        "AssistantMessage",
        r#"{"type":"object","required":["role","content"],"properties":{"role":{"const":"assistant"},"name":{"type":"string"},"content":{"type":"string","minLength":1},"refusal":{"type":["string","null"]},"tool_calls":{"type":"array","items":{"$ref":"ToolCall"}}}}"#,
    ),
    (
        "ToolMessage",
        r#"{"type":"object","required":["role","content","tool_call_id"],"properties":{"role":{"const":"tool"},"tool_call_id":{"type":"string"},"content":{"anyOf":[{"type":"string"},{"type":"array","items":{"$ref":"TextPart"}}]}}}"#,
    ),
    (
        "TextPart",
        r#"{"type":"object","required":["type","text"],"properties":{"type":{"const":"text"},"text":{"type":"string","minLength":1}}}"#,
    ),
    (
        "ImagePart",
        r#"{"type":"object","required":["type","image_url"],"properties":{"type":{"const":"image_url"},"image_url":{"type":"object","required":["url"],"properties":{"url":{"type":"string","pattern":"^data:image/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/]{4,64}$"},"detail":{"enum":["auto","low","high"]}}}}}"#,
    ),
    (
        "ToolCall",
        r#"{"type":"object","required":["id","type","function"],"properties":{"id":{"type":"string"},"type":{"const":"function"},"function":{"type":"object","required":["name","arguments"],"properties":{"name":{"type":"string"},"arguments":{"type":"string"}}}}}"#,
    ),
    (
        "ResponseFormat",
        r#"{"anyOf":[{"type":"object","required":["type"],"properties":{"type":{"enum":["text","json_object"]}}},{"type":"object","required":["type","json_schema"],"properties":{"type":{"const":"json_schema"},"json_schema":{"type":"object","required":["name","schema"],"properties":{"name":{"$ref":"Name"},"description":{"type":"string"},"strict":{"type":["boolean","null"]},"schema":{"$ref":"JsonSchema"}}}}}]}"#,
    ),
    ("Name", r#"{"type":"string","pattern":"^[a-zA-Z0-9_-]{1,64}$"}"#),
    (
        "JsonSchema",
        r#"{"type":"object","description":"A JSON Schema.","enum":[{"type":"object"},{"type":"object","properties":{"a":{"type":"string"}},"required":["a"]}]}"#,
    ),
    (
        "ChatTool",
        r#"{"type":"object","required":["type","function"],"properties":{"type":{"const":"function"},"function":{"$ref":"Function"}}}"#,
    ),
    (
        "Function",
        r#"{"type":"object","required":["name"],"properties":{"name":{"$ref":"Name"},"description":{"type":["string","null"]},"parameters":{"$ref":"JsonSchema"},"strict":{"type":["boolean","null"]}}}"#,
    ),
    (
        "ChatCompletion",
        r#"{"type":"object","required":["id","object","created","model","choices","usage"],"properties":{"id":{"type":"string"},"object":{"const":"chat.completion"},"created":{"type":"integer"},"model":{"type":"string"},"choices":{"type":"array","minItems":1,"items":{"type":"object","required":["index","message","finish_reason"],"properties":{"index":{"type":"integer"},"finish_reason":{"enum":["stop","length","tool_calls","function_call","content_filter"]},"message":{"type":"object","required":["role","content","refusal"],"properties":{"role":{"const":"assistant"},"content":{"type":["string","null"]},"refusal":{"type":["string","null"]},"tool_calls":{"type":"array","items":{"type":"object"}}}}}}},"usage":{"$ref":"Usage"}}}"#,
    ),
    (
        "ResponseItem",
        r#"{"oneOf":[{"$ref":"ResponseMessage"},{"$ref":"ResponseCall"},{"$ref":"ResponseCallOutput"}]}"#,
    ),
    (
        "ResponseMessage",
        r#"{"type":"object","required":["type","role","content"],"properties":{"type":{"const":"message"},"role":{"enum":["user","assistant","system","developer"]},"content":{"anyOf":[{"type":"string","minLength":1},{"type":"array","minItems":1,"items":{"$ref":"ResponseText"}}]}}}"#,
    ),
    (
        "ResponseText",
        r#"{"type":"object","required":["type","text"],"properties":{"type":{"enum":["input_text","output_text"]},"text":{"type":"string","minLength":1}}}"#,
    ),
    (
        "ResponseCall",
        r#"{"type":"object","required":["type","call_id","name","arguments"],"properties":{"type":{"const":"function_call"},"call_id":{"type":"string"},"name":{"type":"string"},"namespace":{"type":["string","null"]},"arguments":{"type":"string"}}}"#,
    ),
    (
        "ResponseCallOutput",
        r#"{"type":"object","required":["type","call_id","output"],"properties":{"type":{"const":"function_call_output"},"call_id":{"type":"string"},"output":{"anyOf":[{"type":"string"},{"type":"array","items":{"$ref":"ResponseText"}}]}}}"#,
    ),
    (
        "TextFormat",
        r#"{"anyOf":[{"type":"object","required":["type"],"properties":{"type":{"enum":["text","json_object"]}}},{"type":"object","required":["type","name","schema"],"properties":{"type":{"const":"json_schema"},"name":{"$ref":"Name"},"description":{"type":"string"},"strict":{"type":["boolean","null"]},"schema":{"$ref":"JsonSchema"}}}]}"#,
    ),
    (
        "ResponseTool",
        r#"{"oneOf":[{"type":"object","required":["type","name"],"properties":{"type":{"const":"function"},"name":{"$ref":"Name"},"description":{"type":["string","null"]},"parameters":{"$ref":"JsonSchema"},"strict":{"type":["boolean","null"]}}},{"type":"object","required":["type","name"],"properties":{"type":{"const":"custom"},"name":{"$ref":"Name"},"description":{"type":["string","null"]}}},{"type":"object","required":["type"],"properties":{"type":{"const":"web_search"}}}]}"#,
    ),
    (
        "Response",
        r#"{"type":"object","required":["id","object","created_at","status","error","incomplete_details","model","output","usage"],"properties":{"id":{"type":"string"},"object":{"const":"response"},"created_at":{"type":"integer"},"status":{"enum":["completed","incomplete"]},"model":{"type":"string"},"output":{"type":"array","items":{"type":"object","required":["type","id"]}},"usage":{"type":"object","required":["input_tokens","output_tokens","total_tokens"],"properties":{"input_tokens":{"type":"integer"},"output_tokens":{"type":"integer"},"total_tokens":{"type":"integer"}}}}}"#,
    ),
    (
        "Usage",
        r#"{"type":"object","required":["prompt_tokens","completion_tokens","total_tokens"],"properties":{"prompt_tokens":{"type":"integer"},"completion_tokens":{"type":"integer"},"total_tokens":{"type":"integer"}}}"#,
    ),
    (
        "Error",
        r#"{"type":"object","required":["error"],"properties":{"error":{"type":"object","required":["message","type","param","code"],"properties":{"message":{"type":"string"},"type":{"type":"string"},"param":{"type":["string","null"]},"code":{"type":["string","null"]}}}}}"#,
    ),
    (
        "Model",
        r#"{"type":"object","required":["id","object","created","owned_by"],"properties":{"id":{"type":"string"},"object":{"const":"model"},"created":{"type":"integer"},"owned_by":{"type":"string"},"context_length":{"type":"integer"},"max_model_len":{"type":"integer"}}}"#,
    ),
    (
        "ModelList",
        r#"{"type":"object","required":["object","data"],"properties":{"object":{"const":"list"},"data":{"type":"array","items":{"$ref":"Model"}}}}"#,
    ),
];
