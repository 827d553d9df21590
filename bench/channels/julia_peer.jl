# channels by Julia: a put and a take through a RemoteChannel of a worker, and items from a producer there to here.
include(joinpath(@__DIR__, "..", "common", "peers.jl"))

worker = only(addprocs(1))
channel = RemoteChannel(() -> Channel{Int}(10), worker)
emit("channels/round_trip", 1e6 * median_call(() -> (put!(channel, 7); take!(channel)), 3000, 0.5, 20), "us")

stream = RemoteChannel(() -> Channel{Int}(1000), worker)
@everywhere produce(to, count) = foreach(i -> put!(to, i), 1:count)
take_all(count) = (remote_do(produce, worker, stream, count); foreach(_ -> take!(stream), 1:count))
take_all(100)  # warm up
emit("channels/stream", 1e6 * (@elapsed take_all(task_count)) / task_count, "us/item")
