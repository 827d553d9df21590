# map_overhead by Julia: pmap, one element at a time and in batches of 100.
include(joinpath(@__DIR__, "..", "common", "peers.jl"))

addprocs(2)
for (name, batch) in (("unbatched", 1), ("batched", 100))
    pmap(identity, 1:100; batch_size=batch)  # warm up
    emit("map_overhead/$name", 1e6 * (@elapsed pmap(identity, 1:task_count; batch_size=batch)) / task_count, "us/element")
end
