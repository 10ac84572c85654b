"""Python's management clients: pyrabbit2, rabbitmq-admin and amqpstorm's, a round of calls each."""

import sys

from amqpstorm.management import ApiConnectionError, ApiError, ManagementApi
from pyrabbit2 import Client
from pyrabbit2.http import HTTPError
from rabbitmq_admin import AdminAPI

from brokers import Leveret


def fails(call, *arguments, error=Exception):
    try:
        call(*arguments)
    except error:
        return
    raise AssertionError(f"{call.__name__}{arguments} does not fail")


def pyrabbit(broker):
    client = Client(f"127.0.0.1:{broker.web}", "guest", "guest")
    assert client.is_alive() and client.get_whoami()["name"] == "guest"
    assert client.get_overview()["node"] == client.get_nodes()[0]["name"]
    assert client.create_vhost("pyrabbit") and "pyrabbit" in client.get_vhost_names()
    assert client.create_user("pat", "pw", tags="monitoring")
    assert "pat" in [user["name"] for user in client.get_users()]
    assert client.set_vhost_permissions("pyrabbit", "guest", ".*", ".*", ".*")
    assert client.set_vhost_permissions("pyrabbit", "pat", "^p", ".*", ".*")
    assert client.get_vhost_permissions("pyrabbit") and client.get_user_permissions("pat")[0]["configure"] == "^p"
    assert client.create_exchange("pyrabbit", "e", "topic") and client.get_exchange("pyrabbit", "e")["type"] == "topic"
    assert client.create_queue("pyrabbit", "q", durable=True)
    assert client.create_binding("pyrabbit", "e", "q", "a.#")
    assert [b["routing_key"] for b in client.get_queue_bindings("pyrabbit", "q") if b["source"]] == ["a.#"]
    assert client.publish("pyrabbit", "e", "a.b", "hello") and client.get_queue_depth("pyrabbit", "q") == 1
    assert client.get_messages("pyrabbit", "q", count=1)[0]["payload"] == "hello"
    client.purge_queue("pyrabbit", "q")
    assert client.get_queue_depth("pyrabbit", "q") == 0
    for name in ("get_connections", "get_channels", "get_bindings", "get_queues", "get_exchanges", "get_permissions"):
        getattr(client, name)()
    fails(client.get_queue, "pyrabbit", "none", error=HTTPError)
    client.delete_binding("pyrabbit", "e", "q", "a.%23")
    client.delete_queue("pyrabbit", "q")
    client.delete_exchange("pyrabbit", "e")
    client.delete_user("pat")
    client.delete_vhost("pyrabbit")
    assert "pyrabbit" not in client.get_vhost_names()


def rabbitmq_admin(broker):
    admin = AdminAPI(f"http://127.0.0.1:{broker.web}", ("guest", "guest"))
    assert admin.overview()["cluster_name"] and admin.get_cluster_name()["name"]
    node = admin.list_nodes()[0]["name"]
    assert admin.get_node(node, memory=True)["name"] == node and admin.whoami()["name"] == "guest"
    admin.create_vhost("admin")
    admin.create_user("ada", "pw", "management")
    admin.create_user_permission("ada", "admin", "^a", ".*", ".*")
    admin.create_user_permission("guest", "admin")
    assert admin.get_user_permission("admin", "ada")["configure"] == "^a"
    assert [p["user"] for p in admin.list_user_permissions("ada")] == ["ada"]
    admin.create_exchange_for_vhost("e", "admin", {"type": "fanout", "durable": True, "auto_delete": False,
                                                   "internal": False, "arguments": {}})
    assert "e" in [e["name"] for e in admin.list_exchanges_for_vhost("admin")]
    admin.create_policy_for_vhost("admin", "p", {"max-length": 5}, pattern="^q", priority=1)
    assert admin.get_policy_for_vhost("admin", "p")["definition"] == {"max-length": 5}
    assert admin.is_vhost_alive("admin") == {"status": "ok"}
    definitions = admin.get_definitions()
    admin.delete_policy_for_vhost("admin", "p")
    admin.post_definitions(definitions)
    assert [p["name"] for p in admin.list_policies_for_vhost("admin")] == ["p"]
    for name in ("list_connections", "list_channels", "list_consumers", "list_exchanges", "list_bindings", "list_users",
                 "list_vhosts", "list_permissions", "list_policies", "list_extensions"):
        getattr(admin, name)()
    admin.delete_exchange_for_vhost("e", "admin", if_unused=True)
    admin.delete_user("ada")
    admin.delete_vhost("admin")
    fails(admin.get_vhost, "admin")


def amqpstorm(broker):
    api = ManagementApi(f"http://127.0.0.1:{broker.web}", "guest", "guest")
    assert api.aliveness_test("/")["status"] == "ok" and api.overview()["node"] and api.whoami()["name"] == "guest"
    assert api.nodes()[0]["running"] and api.cluster_name()["name"]
    api.virtual_host.create("storm")
    api.user.create("sam", "pw", tags="monitoring")
    api.user.set_permission("sam", "storm", "^s", ".*", ".*")
    assert api.user.get_permission("sam", "storm")["configure"] == "^s"
    assert api.user.get("sam")["tags"] == ["monitoring"] and api.virtual_host.get_permissions("storm")
    api.exchange.declare("e", "topic", virtual_host="storm", durable=True)
    api.queue.declare("q", virtual_host="storm", durable=True, arguments={"x-max-length": 10})
    api.queue.bind("q", "e", "a.*", virtual_host="storm", arguments={})
    assert api.basic.publish("hello", "a.b", exchange="e", virtual_host="storm")["routed"] is True
    got = api.basic.get("q", virtual_host="storm", requeue=False, to_dict=True)
    assert [message["payload"] for message in got] == ["hello"], got
    assert api.queue.get("q", virtual_host="storm")["arguments"] == {"x-max-length": 10}
    api.queue.purge("q", virtual_host="storm")
    assert {b["source"] for b in api.queue.bindings("q", virtual_host="storm")} == {"", "e"}
    api.queue.unbind("q", "e", "a.*", virtual_host="storm")
    assert [q["name"] for q in api.queue.list(virtual_host="storm")] == ["q"]
    assert api.exchange.list(virtual_host="storm") and api.user.list() and api.virtual_host.list()
    assert api.connection.list() == [] and api.channel.list() == []
    assert api.healthchecks.get()["status"] == "ok"
    fails(api.queue.get, "none", "storm", error=ApiError)
    fails(ManagementApi(f"http://127.0.0.1:{broker.web}", "guest", "wrong").overview, error=(ApiError, ApiConnectionError))
    api.queue.delete("q", virtual_host="storm")
    api.exchange.delete("e", virtual_host="storm")
    api.user.delete("sam")
    api.virtual_host.delete("storm")


def main():
    with Leveret(sys.argv[1]) as broker:
        for round in (pyrabbit, rabbitmq_admin, amqpstorm):
            round(broker)
            print(f"{round.__name__}: ok")


if __name__ == "__main__":
    main()
