#include "repl/kernel/connection.hpp"

#include <nlohmann/json.hpp>

#include <fstream>
#include <stdexcept>

namespace muster::repl {

std::string Connection::endpoint(int port) const {
  return transport + "://" + ip + (transport == "tcp" ? ":" : "-") + std::to_string(port);
}

Connection read_connection(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("can't read the connection file " + path + "; Jupyter makes it and names it");
  try {
    const auto json = nlohmann::json::parse(file);
    Connection connection;
    connection.transport = json.value("transport", "tcp");
    connection.ip = json.value("ip", "127.0.0.1");
    connection.key = json.value("key", "");
    connection.shell = json.at("shell_port");
    connection.control = json.at("control_port");
    connection.iopub = json.at("iopub_port");
    connection.standard_input = json.at("stdin_port");
    connection.heartbeat = json.at("hb_port");
    const std::string scheme = json.value("signature_scheme", "hmac-sha256");
    if (!connection.key.empty() && scheme != "hmac-sha256")
      throw std::runtime_error("signatures by " + scheme + " are not known here, only hmac-sha256");
    if (connection.transport != "tcp" && connection.transport != "ipc")
      throw std::runtime_error("the transport " + connection.transport + " is not known here, only tcp and ipc");
    return connection;
  } catch (const std::exception& error) {
    throw std::runtime_error("the connection file " + path + ": " + error.what());
  }
}

}  // namespace muster::repl
