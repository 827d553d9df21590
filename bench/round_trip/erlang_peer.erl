%% round_trip by Erlang: a remote call of a function that does nothing.
-module(erlang_peer).
-export([main/0]).

main() ->
    erlang_peers:with_nodes(1, fun([Node]) ->
        Seconds = erlang_peers:median_call(fun() -> erpc:call(Node, erlang, node, []) end, 3000, 0.5, 20),
        erlang_peers:emit("round_trip", 1.0e6 * Seconds, "us")
    end).
