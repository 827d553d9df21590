# What `cmake --install` puts where: library, headers, the CMake package Muster and the pkg-config module muster.
include(CMakePackageConfigHelpers)

set(muster_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/Muster)
target_compile_features(muster PUBLIC cxx_std_20)

install(
  TARGETS muster
  EXPORT MusterTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/muster DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT MusterTargets NAMESPACE Muster:: DESTINATION ${muster_package_dir})

configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/MusterConfig.cmake.in
                              ${PROJECT_BINARY_DIR}/cmake/MusterConfig.cmake INSTALL_DESTINATION ${muster_package_dir})
# Before 1.0 a minor version may change what programs see.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/cmake/MusterConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/cmake/MusterConfig.cmake ${PROJECT_BINARY_DIR}/cmake/MusterConfigVersion.cmake
        DESTINATION ${muster_package_dir})

# The module finds its prefix from its own place, so an installed tree can be moved.
file(RELATIVE_PATH muster_prefix_from_pc /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(${PROJECT_SOURCE_DIR}/cmake/muster.pc.in ${PROJECT_BINARY_DIR}/cmake/muster.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/cmake/muster.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
