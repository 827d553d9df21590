# start_up by Julia: addprocs(4) and an answer of each.
include(joinpath(@__DIR__, "..", "common", "peers.jl"))

emit("start_up", (@elapsed foreach(pid -> remotecall_fetch(myid, pid), addprocs(4))), "s")
