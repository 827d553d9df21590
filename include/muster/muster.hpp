/// @file
/// All of muster, but for muster/asio.hpp and muster/serialize/eigen.hpp, which need Boost.Asio and Eigen.
#pragma once

#include <muster/auto.hpp>
#include <muster/backoff.hpp>
#include <muster/callable.hpp>
#include <muster/channel.hpp>
#include <muster/cluster.hpp>
#include <muster/cluster_manager.hpp>
#include <muster/debug.hpp>
#include <muster/distributed.hpp>
#include <muster/errors.hpp>
#include <muster/future.hpp>
#include <muster/ids.hpp>
#include <muster/pmap.hpp>
#include <muster/ranges.hpp>
#include <muster/register_exception.hpp>
#include <muster/remote_channel.hpp>
#include <muster/session.hpp>
#include <muster/slurm_manager.hpp>
#include <muster/spawn.hpp>
#include <muster/task.hpp>
#include <muster/view.hpp>
#include <muster/worker_pool.hpp>
