%% What the Erlang peers share: nodes on this host, clock, and the one line of JSON each result is.
-module(erlang_peers).
-export([with_nodes/2, median_call/4, seconds_of/1, emit/3]).

%% Runs Work([Node, ...]) beside so many other nodes, one scheduler each, and ends this node and them.
with_nodes(Count, Work) ->
    Nodes = [start_node(I) || I <- lists:seq(1, Count)],
    Work([Node || {_, Node} <- Nodes]),
    [peer:stop(Peer) || {Peer, _} <- Nodes],
    init:stop().

start_node(I) ->
    Paths = lists:append([["-pa", Path] || Path <- code:get_path(), filelib:is_file(filename:join(Path, "erlang_peers.beam"))]),
    {ok, Peer, Node} = peer:start_link(#{name => "worker" ++ integer_to_list(I), host => "localhost", args => ["+S", "1", "-connect_all", "false" | Paths]}),
    {Peer, Node}.

seconds_of(Call) ->
    Start = erlang:monotonic_time(nanosecond),
    Call(),
    (erlang:monotonic_time(nanosecond) - Start) * 1.0e-9.

%% Median seconds of a call: at most Count calls, or as many as start within Limit seconds.
median_call(Call, Count, Limit, WarmUp) ->
    [Call() || _ <- lists:seq(1, WarmUp)],
    End = erlang:monotonic_time(nanosecond) + round(Limit * 1.0e9),
    Seconds = lists:sort(measure(Call, Count, End, [])),
    lists:nth((length(Seconds) + 1) div 2, Seconds).

measure(_, 0, _, Seconds) -> Seconds;
measure(Call, Left, End, Seconds) ->
    case Seconds =/= [] andalso erlang:monotonic_time(nanosecond) >= End of
        true -> Seconds;
        false -> measure(Call, Left - 1, End, [seconds_of(Call) | Seconds])
    end.

emit(Name, Value, Unit) ->
    io:format("{\"name\": \"~s\", \"median\": ~.9g, \"unit\": \"~s\"}~n", [Name, float(Value), Unit]).
