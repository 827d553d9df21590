# What the Julia peers share: clock and the one line of JSON each result is.
using Distributed

const task_count = 20_000

"Median seconds of a call: at most `count` calls, or as many as start within `limit` seconds."
function median_call(call, count, limit, warm_up)
    foreach(_ -> call(), 1:warm_up)
    seconds = Float64[]
    stop = time() + limit
    while length(seconds) < count && (isempty(seconds) || time() < stop)
        push!(seconds, @elapsed call())
    end
    return sort!(seconds)[cld(end, 2)]
end

emit(name, value, unit) = println("{\"name\": \"$name\", \"median\": $value, \"unit\": \"$unit\"}")
