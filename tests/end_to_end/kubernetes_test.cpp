// Workers in pods, with a kubectl that is played by a script: pods are processes of this host.
#include "support.hpp"

#include <gmock/gmock.h>

#include <csignal>
#include <cstdlib>

namespace muster::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr const char* played_kubectl = R"PYTHON(#!/usr/bin/env python3
"""Plays kubectl: create starts each pod's command here, with its secret where the pod would have it mounted."""
import json, os, pathlib, subprocess, sys

home = pathlib.Path(__file__).parent
arguments = sys.argv[1:]
with open(home / "calls", "a") as calls:
    calls.write(" ".join(arguments) + "\n")
if arguments[0] == "--namespace":
    arguments = arguments[2:]
mode = (home / "mode").read_text().strip()

if arguments[0] == "create":
    if mode == "refuse":
        sys.exit("Error from server (Forbidden): pods is forbidden")
    listed = json.load(sys.stdin)
    (home / "created.json").write_text(json.dumps(listed))
    secrets = {item["metadata"]["name"]: item["stringData"] for item in listed["items"] if item["kind"] == "Secret"}
    for pod in (item for item in listed["items"] if item["kind"] == "Pod"):
        name, spec = pod["metadata"]["name"], pod["spec"]
        (home / "pods").mkdir(exist_ok=True)
        (home / "pods" / name).write_text("")
        if mode == "pending":
            continue
        mounted = home / "mounted"
        mounted.mkdir(exist_ok=True)
        if not (mounted / "record").exists():  # all pods have the same, and some may be reading it
            (mounted / "record").write_text(secrets[spec["volumes"][-1]["secret"]["secretName"]]["record"])
        container = spec["containers"][0]
        command = [word.replace("/etc/muster", str(mounted)) for word in container["command"]]
        process = subprocess.Popen(command, env=os.environ | {e["name"]: e["value"] for e in container["env"]},
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   start_new_session=True)
        (home / "pods" / name).write_text(str(process.pid))
elif arguments[0] == "get" and arguments[1] == "pods":
    waiting = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
    pods = sorted(path.name for path in (home / "pods").iterdir())
    print(json.dumps({"items": [{"metadata": {"name": name},
                                 "status": {"phase": "Pending", "containerStatuses": [waiting] if mode == "pending" else []}}
                                for name in pods]}))
elif arguments[0] == "get":
    ended = {"state": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}
    print(json.dumps({"metadata": {"name": arguments[2]}, "status": {"phase": "Failed", "containerStatuses": [ended]}}))
elif arguments[0] == "delete":
    pass
)PYTHON";

class PlayedCluster {
 public:
  explicit PlayedCluster(const std::string& mode = "run") {
    char name[] = "/tmp/muster-kubernetes.XXXXXX";
    directory_ = ::mkdtemp(name);
    std::ofstream(directory_ + "/kubectl") << played_kubectl;
    std::ofstream(directory_ + "/mode") << mode;
    std::filesystem::permissions(directory_ + "/kubectl", std::filesystem::perms::owner_all);
  }
  ~PlayedCluster() {
    if (std::filesystem::exists(directory_ + "/pods")) {
      for (const auto& entry : std::filesystem::directory_iterator(directory_ + "/pods")) {
        std::ifstream file(entry.path());
        if (int pid = 0; file >> pid) (void)::kill(pid, SIGKILL);
      }
    }
    std::filesystem::remove_all(directory_);
  }
  PlayedCluster(const PlayedCluster&) = delete;
  PlayedCluster& operator=(const PlayedCluster&) = delete;
  KubernetesOptions options() const {
    KubernetesOptions options;
    options.image = "registry/program:1";
    options.kubectl = directory_ + "/kubectl";
    return options;
  }
  std::string text(const std::string& name) const {
    std::ifstream file(directory_ + "/" + name);
    return {std::istreambuf_iterator<char>(file), {}};
  }

 private:
  std::string directory_;
};

TEST(Kubernetes, PodsAreCreatedTheirWorkersJoinAndTheyAreDeleted) {
  const PlayedCluster cluster;
  KubernetesOptions options = cluster.options();
  options.name_space = "science";
  options.labels = {{"team", "ours"}};
  options.pod_template = R"({"spec": {"nodeSelector": {"disk": "ssd"}, "containers": [
                             {"resources": {"limits": {"cpu": "1"}}}]}})";
  const std::vector<Pid> pids =
      addprocs(std::make_shared<KubernetesManager>(2, options), {.env = {{"OF_ITS_OWN", "a value"}}});
  ASSERT_EQ(pids.size(), 2U);
  const auto its = [](const std::string& name) { return std::string(std::getenv(name.c_str())); };
  EXPECT_EQ(remotecall_fetch(its, pids[0], std::string("OF_ITS_OWN")), "a value");
  const std::string created = cluster.text("created.json");
  for (const char* const part : {R"("nodeSelector": {"disk": "ssd"})", R"("limits": {"cpu": "1"})", R"("team": "ours")",
                                 R"("image": "registry/program:1")", R"("restartPolicy": "Never")"})
    EXPECT_THAT(created, HasSubstr(part));
  EXPECT_THAT(cluster.text("calls"), HasSubstr("--namespace science create -f -\n")) << "no secret in a command line";
  rmprocs(pids[0]);
  EXPECT_EQ(cluster.text("calls").find("delete"), std::string::npos);
  rmprocs(pids[1]);
  EXPECT_TRUE(eventually([&] {
    return cluster.text("calls").find("--namespace science delete pods,secrets -l muster-run=muster-") !=
           std::string::npos;
  }));
}

TEST(Kubernetes, APodThatCantStartSaysWhyAndIsDeleted) {
  const PlayedCluster cluster("pending");
  const auto error =
      thrown<LaunchError>([&] { (void)addprocs(std::make_shared<KubernetesManager>(1, cluster.options())); });
  ASSERT_TRUE(error);
  EXPECT_THAT(error->what(), AllOf(HasSubstr("ImagePullBackOff: no such image"), HasSubstr("pod muster-")));
  EXPECT_THAT(cluster.text("calls"), HasSubstr("delete pods,secrets"));
}

TEST(Kubernetes, WhatKubernetesRefusesIsTold) {
  const PlayedCluster cluster("refuse");
  const auto error =
      thrown<LaunchError>([&] { (void)addprocs(std::make_shared<KubernetesManager>(1, cluster.options())); });
  ASSERT_TRUE(error);
  EXPECT_THAT(error->what(), HasSubstr("pods is forbidden"));
  KubernetesOptions nowhere = cluster.options();
  nowhere.kubectl = "/no/such/kubectl";
  EXPECT_THROW((void)addprocs(std::make_shared<KubernetesManager>(1, nowhere)), LaunchError);
}

TEST(Kubernetes, WhyAPodEndedIsKnown) {
  const PlayedCluster cluster;
  const std::vector<Pid> one = addprocs(std::make_shared<KubernetesManager>(1, cluster.options()));
  const Future<void> lost = spawnat(one[0], [] { this_task::sleep_for(patience); });
  kill_worker(one[0]);
  const auto error = thrown<ProcessExitedException>([&] { lost.fetch(); });
  ASSERT_TRUE(error);
  EXPECT_THAT(error->exit().cause, HasSubstr("OOMKilled, exit status 137"));
  EXPECT_TRUE(eventually([&] { return cluster.text("calls").find("delete pods,secrets") != std::string::npos; }));
}

TEST(Kubernetes, OptionsThatMakeNoSenseAreRefused) {
  EXPECT_THROW(KubernetesManager(1, {}), std::invalid_argument) << "no image";
  EXPECT_THROW(KubernetesManager(1, {.image = "i", .pod_template = "kind: Pod"}), std::invalid_argument);
  EXPECT_THROW(KubernetesManager(-1, {.image = "i"}), std::invalid_argument);
}

}  // namespace
}  // namespace muster::test
