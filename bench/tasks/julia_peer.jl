# tasks by Julia: remotecall of the identity to two workers in turn, then fetch of all.
include(joinpath(@__DIR__, "..", "common", "peers.jl"))

pids = addprocs(2)
run_all(count) = foreach(fetch, [remotecall(identity, pids[1+i%2], i) for i in 1:count])
run_all(task_count ÷ 10)  # warm up
emit("tasks", 1e6 * (@elapsed run_all(task_count)) / task_count, "us/task")
