// Prints what a model's own chat template, run by Hugging Face's Jinja, makes of the conversation of
// tests/test_chat_template.c, with and without a system message, for comparison with the texts there.
//
//   node render_chat.mjs FOLDER...      each holds a tokenizer_config.json
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Template } from "@huggingface/jinja";

const name = (token) => (token && typeof token === "object" ? token.content : token) ?? "";
const rounds = [
  { role: "user", content: " Hi there \n" },
  { role: "assistant", content: "Hello." },
  { role: "user", content: "Bye" },
];
for (const folder of process.argv.slice(2)) {
  const config = JSON.parse(readFileSync(join(folder, "tokenizer_config.json"), "utf8"));
  const given = config.chat_template;
  const text = typeof given === "string" ? given : given?.[0]?.template;
  if (!text) {
    console.log(`${folder}: no chat template`);
    continue;
  }
  for (const messages of [rounds, [{ role: "system", content: "Be brief." }, ...rounds]]) {
    try {
      const out = new Template(text).render({
        messages, add_generation_prompt: true,
        bos_token: name(config.bos_token), eos_token: name(config.eos_token),
      });
      console.log(`${folder}: ${JSON.stringify(out)}`);
    } catch (error) {
      console.log(`${folder}: ${error}`);
    }
  }
}
