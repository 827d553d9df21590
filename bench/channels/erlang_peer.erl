%% channels by Erlang: a process on another node that holds a queue. Put and take, each answered; and items sent to the
%% queue there by a process there, taken by the process here.
-module(erlang_peer).
-export([main/0, queue/1, produce/2]).

main() ->
    erlang_peers:with_nodes(1, fun([Node]) ->
        Queue = spawn_link(Node, ?MODULE, queue, [queue:new()]),
        Seconds = erlang_peers:median_call(fun() -> put_item(Queue, 1), 1 = take(Queue) end, 3000, 0.5, 20),
        erlang_peers:emit("channels/round_trip", 1.0e6 * Seconds, "us"),
        Items = 20000,
        spawn_link(Node, ?MODULE, produce, [Queue, Items]),
        Stream = erlang_peers:seconds_of(fun() -> [take(Queue) || _ <- lists:seq(1, Items)] end),
        erlang_peers:emit("channels/stream", 1.0e6 * Stream / Items, "us/item")
    end).

put_item(Queue, Item) ->
    Queue ! {put, self(), Item},
    receive {done, Queue} -> ok end.

take(Queue) ->
    Queue ! {take, self()},
    receive {item, Queue, Item} -> Item end.

produce(_, 0) -> ok;
produce(Queue, Left) ->
    Queue ! {put, self(), Left},
    produce(Queue, Left - 1).

queue(Items) ->
    receive {put, From, Item} -> From ! {done, self()}, queue(queue:in(Item, Items));
            {take, From} -> queue(give(From, Items)) end.

give(From, Items) ->
    case queue:out(Items) of
        {{value, Item}, Rest} -> From ! {item, self(), Item}, Rest;
        {empty, _} -> receive {put, Putter, Item} -> Putter ! {done, self()}, From ! {item, self(), Item}, Items end
    end.
