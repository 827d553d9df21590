# What the library is built on. All of it stays private: programs that use Muster need cereal's headers and nothing to link.
# Nothing is downloaded; scripts/setup installs these from Debian's packages.

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(Boost 1.81 REQUIRED CONFIG) # headers only: Asio
find_package(cereal REQUIRED CONFIG)
find_package(fmt REQUIRED CONFIG)
find_package(spdlog REQUIRED CONFIG)
find_package(ZLIB REQUIRED)
pkg_check_modules(libzmq REQUIRED IMPORTED_TARGET libzmq>=4.3.4)
pkg_check_modules(libssh REQUIRED IMPORTED_TARGET libssh)
pkg_check_modules(libsodium REQUIRED IMPORTED_TARGET libsodium)
pkg_check_modules(libdw REQUIRED IMPORTED_TARGET libdw)

add_library(muster_dependencies INTERFACE)
target_link_libraries(
  muster_dependencies
  INTERFACE Boost::headers
            PkgConfig::libzmq
            PkgConfig::libssh
            PkgConfig::libsodium
            PkgConfig::libdw
            spdlog::spdlog
            ZLIB::ZLIB
            fmt::fmt
            ${CMAKE_DL_LIBS})
