// Compiles every shader with the browser's own compiler, then runs the library. Whoever serves this page (`runner`) is told
// of each result, and of the end.

const tell = (kind, text) => fetch(`/${kind}`, { method: "POST", body: text });
const passed = (what) => tell("passed", what);
const failed = (what, why) => tell("failed", `${what}: ${why}`);

addEventListener("error", (event) => failed("the page", event.message));
addEventListener("unhandledrejection", (event) => failed("the page", event.reason));

async function open() {
    const adapter = await navigator.gpu?.requestAdapter();
    if (!adapter) throw new Error("this browser has no WebGPU adapter");
    const has = (feature) => adapter.features.has(feature);
    const device = await adapter.requestDevice({ requiredFeatures: ["shader-f16"].filter(has) });
    const { vendor, architecture, description } = adapter.info;
    await tell("note", `${navigator.userAgent.match(/Chrom\S+/) ?? navigator.userAgent}, ${[vendor, architecture, description].filter(Boolean).join(" ")}`);
    device.lost.then((lost) => failed("the device", `lost: ${lost.message}`));
    return device;
}

// [[WGSL, what it is for]]; every `step`-th becomes a pipeline, too.
async function shaders(device, step) {
    const list = await (await fetch("modules.json")).json();
    const takesHalves = device.features.has("shader-f16");
    let [left, pipelines] = [0, 0];
    for (const [index, [code, what]] of list.entries()) {
        if (code.startsWith("enable f16;") && !takesHalves) {
            left++;
            continue;
        }
        device.pushErrorScope("validation");
        const module = device.createShaderModule({ code });
        const { messages } = await module.getCompilationInfo();
        let error = messages.filter(({ type }) => type === "error").map(({ message, lineNum }) => `line ${lineNum}: ${message}`).join("; ");
        error ||= (await device.popErrorScope())?.message;
        if (!error && step > 0 && index % step === 0) {
            pipelines++;
            const compute = { module, entryPoint: "main" };
            await device.createComputePipelineAsync({ layout: "auto", compute }).catch((reason) => (error = `pipeline: ${reason.message}`));
        }
        await (error ? failed(`a module for ${what}`, error) : passed(""));
    }
    await tell("note", `${list.length - left} modules compiled, ${pipelines} of them to pipelines`);
    if (left > 0) await tell("note", `left out: ${left} modules with 16-bit floats in shaders, which this adapter does not have`);
}

async function library() {
    const { default: start, Page } = await import("./page.js");
    await start({ module_or_path: "page_bg.wasm" });
    const page = await Page.open();
    await tell("note", `the library on ${page.adapter()}`);
    for (const [index, name] of page.names().entries()) {
        const wrong = await page.check(index).catch((error) => error.message ?? String(error));
        await (wrong ? failed(name, wrong) : passed(name));
    }
}

try {
    const parts = new URLSearchParams(location.search);
    if (parts.has("shaders")) await shaders(await open(), Number(parts.get("pipelines") ?? 0));
    if (parts.has("library")) await library();
} catch (error) {
    await failed("the page", error.stack ?? error);
}
await tell("end", "");
