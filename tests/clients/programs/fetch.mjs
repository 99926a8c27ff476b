// Calls the test app with the fetch that Node brings along, and prints what came of it as JSON.

const url = process.argv[2];
const noise = Buffer.alloc(2_000_000, "0123456789abcdef\u0000\u00ff", "latin1");

async function first() {
    const answer = await fetch(`${url}/ping`);
    return { status: answer.status, type: answer.headers.get("content-type"), body: await answer.json() };
}

async function json(path, options) {
    return (await fetch(`${url}${path}`, options)).json();
}

async function echoes(body, options) {
    const answer = await fetch(`${url}/echo`, { method: "POST", body, ...options });
    return Buffer.from(await answer.arrayBuffer()).equals(noise);
}

function stream() {
    let at = 0;
    return new ReadableStream({
        pull(controller) {
            if (at >= noise.length) return controller.close();
            controller.enqueue(noise.subarray(at, (at += 100_000)));
        },
    });
}

async function form() {
    const form = new FormData();
    form.append("name", "ü");
    form.append("file", new Blob([noise]), "a.bin");
    const answer = await fetch(`${url}/echo`, { method: "POST", body: form });
    // The type says where the parts begin and end, so the echo can be read as a form again.
    const back = await answer.formData();
    return { name: back.get("name"), size: back.get("file").size };
}

async function pieces() {
    let length = 0;
    for await (const piece of (await fetch(`${url}/stream?chunks=5&every_ms=20&size=1000`)).body) length += piece.length;
    return length;
}

async function givenUp() {
    const answer = await fetch(`${url}/stream?chunks=1000&every_ms=20`, { signal: AbortSignal.timeout(300) });
    try {
        await answer.arrayBuffer();
        return null;
    } catch (error) {
        return error.name;
    }
}

async function atOnce(count) {
    const answers = await Promise.all(Array.from({ length: count }, () => fetch(`${url}/sleep?ms=50`)));
    await Promise.all(answers.map((answer) => answer.arrayBuffer()));
    return { sent: count, ok: answers.filter((answer) => answer.ok).length };
}

const found = {
    first: await first(),
    seen: await json("/headers?q=a%20b", { headers: { "x-one": "1", accept: "text/plain" } }),
    posted: await json("/echo", { method: "POST", body: '{"a":1}', headers: { "content-type": "application/json" } }),
    statuses: await Promise.all([204, 304, 404, 503].map(async (code) => (await fetch(`${url}/status?code=${code}`)).status)),
    head: (await fetch(`${url}/bytes?n=12345`, { method: "HEAD" })).headers.get("content-length"),
    sized: await echoes(noise),
    streamed: await echoes(stream(), { duplex: "half" }),
    form: await form(),
    pieces: await pieces(),
    givenUp: await givenUp(),
    atOnce: await atOnce(100),
};
console.log(JSON.stringify(found));
