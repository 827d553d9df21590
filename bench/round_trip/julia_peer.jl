# round_trip by Julia: remotecall_fetch of a function that does nothing.
include(joinpath(@__DIR__, "..", "common", "peers.jl"))

worker = only(addprocs(1))
emit("round_trip", 1e6 * median_call(() -> remotecall_fetch(myid, worker), 3000, 0.5, 20), "us")
