%% tasks by Erlang: remote calls of the identity sent to two nodes in turn, then the answers in order.
-module(erlang_peer).
-export([main/0, identity/1]).

main() ->
    erlang_peers:with_nodes(2, fun([First, Second]) ->
        Run = fun(Count) ->
            Node = fun(I) -> case I rem 2 of 0 -> First; 1 -> Second end end,
            Requests = [erpc:send_request(Node(I), ?MODULE, identity, [I]) || I <- lists:seq(1, Count)],
            [erpc:receive_response(Request) || Request <- Requests]
        end,
        Run(2000),
        erlang_peers:emit("tasks", 1.0e6 * erlang_peers:seconds_of(fun() -> Run(20000) end) / 20000, "us/task")
    end).

identity(Value) -> Value.
