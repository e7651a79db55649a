"use strict";

// element makes a node; children that are strings become text, never markup.
function element(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

// newKey mints a UUIDv7: its time lets the server forget it one day.
function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  let time = Date.now();
  for (let i = 5; i >= 0; i--) { bytes[i] = time % 256; time = Math.floor(time / 256); }
  bytes[6] = (bytes[6] & 0x0f) | 0x70;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

// example builds a body from a schema. Values that the sandbox knows are better
// than empty ones.
const known = {
  productId: "espresso-beans", quantity: 1, paymentMethod: "pm_card_ok",
  currencyCode: "EUR", units: "10", contactEmail: "ada@example.com",
};

function example(schema, spec, depth) {
  if (!schema || depth > 6) return null;
  if (schema.$ref) schema = spec.definitions[schema.$ref.split("/").pop()] || {};
  if (schema.type === "array") return [example(schema.items, spec, depth + 1)];
  if (schema.properties) {
    const body = {};
    for (const [name, property] of Object.entries(schema.properties)) {
      const value = name in known ? known[name] : example(property, spec, depth + 1);
      if (value !== null && value !== "") body[name] = value;
    }
    return body;
  }
  if (schema.enum) return schema.enum[0];
  return { string: "", boolean: false, integer: 0, number: 0, object: {} }[schema.type] ?? null;
}

function field(name, hint, value) {
  const input = element("input", { spellcheck: "false" });
  input.value = value || "";
  return { input, node: element("label", {}, name, element("small", {}, hint || ""), input) };
}

function operation(method, path, op, spec) {
  const form = element("div");
  const parameters = [];
  let body = null;
  for (const p of op.parameters || []) {
    if (p.in === "body") {
      body = element("textarea", { spellcheck: "false" });
      body.value = JSON.stringify(example(p.schema, spec, 0), null, 2);
      continue;
    }
    const f = field(`${p.name} (${p.in})`, p.description || p.title, "");
    parameters.push({ spec: p, input: f.input });
    form.append(f.node);
  }
  let key = null;
  let etag = null;
  if (method === "post") {
    key = field("Idempotency-Key", "Keep it and send again to see the replay.", newKey());
    form.append(key.node, element("button", { onclick: () => { key.input.value = newKey(); } }, "New key"));
  }
  if (method === "patch" || method === "put") {
    etag = field("If-Match", "The etag of what you read, if the body has none.", "");
    form.append(etag.node);
  }
  if (body) form.append(element("label", {}, "Body", body));
  const output = element("div");
  const send = async () => {
    let target = path;
    const query = new URLSearchParams();
    for (const { spec: p, input } of parameters) {
      if (p.in === "path") target = target.replace(`{${p.name}}`, encodeURIComponent(input.value));
      else if (input.value !== "") query.append(p.name, input.value);
    }
    if (query.size) target += "?" + query;
    const headers = { Authorization: "Bearer " + document.getElementById("key").value };
    if (body) headers["Content-Type"] = "application/json";
    if (key && key.input.value) headers["Idempotency-Key"] = key.input.value;
    if (etag && etag.input.value) headers["If-Match"] = etag.input.value;
    const curl = [`curl -i -X ${method.toUpperCase()} '${location.origin}${target}'`];
    for (const [name, value] of Object.entries(headers)) curl.push(`-H '${name}: ${value}'`);
    if (body) curl.push(`-d '${body.value.replaceAll("'", "'\\''")}'`);
    output.replaceChildren(element("pre", {}, curl.join(" \\\n  ")));
    try {
      const response = await fetch(target, { method: method.toUpperCase(), headers, body: body ? body.value : undefined });
      const text = await response.text();
      let shown = text;
      try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* not JSON: shown as it is */ }
      const lines = [`${response.status} ${response.statusText}`];
      for (const [name, value] of response.headers) lines.push(`${name}: ${value}`);
      output.append(element("pre", { class: response.ok ? "" : "bad" }, lines.join("\n") + "\n\n" + shown));
    } catch (problem) {
      output.append(element("pre", { class: "bad" }, String(problem)));
    }
  };
  form.append(element("div", {}, element("button", { onclick: send }, "Send")), output);
  return element("details", {},
    element("summary", {}, element("b", {}, method.toUpperCase()), element("code", {}, path), " ", op.summary || ""),
    element("p", {}, op.description || ""), form);
}

async function main() {
  document.getElementById("key").value = document.body.dataset.key;
  const spec = await (await fetch("openapi.json")).json();
  const sections = new Map();
  for (const [path, methods] of Object.entries(spec.paths)) {
    for (const [method, op] of Object.entries(methods)) {
      const tag = (op.tags || ["API"])[0];
      if (!sections.has(tag)) sections.set(tag, element("section", {}, element("h2", {}, tag)));
      sections.get(tag).append(operation(method, path, op, spec));
    }
  }
  document.getElementById("operations").replaceChildren(...sections.values());
}

main().catch((problem) => {
  document.getElementById("operations").replaceChildren(element("p", { class: "bad" }, "The API description cannot be read: " + problem));
});
