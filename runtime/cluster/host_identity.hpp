/// @file
/// Which processes share a host.
#pragma once

#include <string>

namespace muster::runtime {

/// Text that is equal for two processes exactly when they run on the same booted host and can see each other there:
/// same process and network namespaces, so not in different containers. Where the kernel does not say which host this
/// is (no /proc), the text equals no other. A few system calls; one line without blanks.
std::string host_identity();

/// Of a host's identity, what is equal for processes of one network namespace; empty where it does not say.
std::string network_identity(const std::string& host_identity);

}  // namespace muster::runtime
