/// @file
/// Workers in pods of Kubernetes.
#pragma once

#include <muster/cluster_manager.hpp>

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace muster {

/// Options of KubernetesManager.
struct KubernetesOptions {
  std::string image = {};                          ///< that has this program, of this build, and a `/bin/sh`
  std::string program = {};                        ///< its path in the image; empty: as here
  std::string kubectl = "kubectl";                 ///< the command, which is configured for the cluster
  std::string name_space = {};                     ///< empty: kubectl's own
  std::map<std::string, std::string> labels = {};  ///< of pods and secret, further ones
  /// A pod as JSON, into which name, labels, command, and the first container's image (unless it has one) are put:
  /// resources, node selectors, service accounts, tolerations go here. Empty: one container.
  std::string pod_template = {};
  std::string bind_address = {};            ///< where the master listens for pods; empty: on all its interfaces
  int port = 0;                             ///< there; 0: any free one
  std::vector<std::string> addresses = {};  ///< at which pods reach the master, in numbers
};

/// Starts a pod for each worker, by `kubectl create`. Pods connect to the master, which must be reachable from them:
/// run it in a pod, or name its `addresses`. The secret is one of Kubernetes, mounted as a file that only the worker
/// reads. Pods and secret are deleted when addprocs fails, when their last worker is gone, and with the manager. A pod
/// that can't start says why; one that ended is asked for its reason (OOMKilled, Evicted), which WorkerExit::cause
/// tells.
class KubernetesManager : public ClusterManager {
 public:
  /// @throws std::invalid_argument for a negative n, no image, or a template that is no JSON object
  KubernetesManager(int n, KubernetesOptions options);
  /// Deletes what is left of its pods.
  ~KubernetesManager() override;
  void launch(LaunchContext& context) override;
  void manage(Pid pid, WorkerConfig& config, ManageOp op) override;
  void kill(Pid pid, const WorkerConfig& config) override;
  /// With the number of workers.
  std::string to_string() const override;

 private:
  class Pods;
  const int n_;
  const KubernetesOptions options_;
  std::unique_ptr<Pods> pods_;
};

}  // namespace muster
