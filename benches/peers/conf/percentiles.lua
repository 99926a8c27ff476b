-- wrk's own words, as JSON. Arguments behind `--`: the size of a request's body, and headers as `Name: value`.

init = function(args)
    local size = tonumber(args[1] or "0")
    if size > 0 then
        wrk.method = "POST"
        wrk.body = string.rep("x", size)
    end
    for at = 2, #args do
        local name, value = args[at]:match("^(.-): (.*)$")
        wrk.headers[name] = value
    end
end

done = function(summary, latency)
    local errors = summary.errors
    io.write(string.format(
        '\n{"requests":%d,"errors":%d,"seconds":%.6f,"p50":%.1f,"p99":%.1f,"p999":%.1f}\n',
        summary.requests,
        errors.connect + errors.read + errors.write + errors.status + errors.timeout,
        summary.duration / 1e6,
        latency:percentile(50), latency:percentile(99), latency:percentile(99.9)
    ))
end
