// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "simulation/files.h"
#include "simulation/plan.h"

namespace byre::simulation {

// Makes a backing file of that name with these contents: a raw one, or an image on another raw file,
// which has a part of them.
Base make_base(FilesByName* files, const std::string& name, ConstBytes contents, bool is_image,
               Random& random);

// Contents for a new backing file of a disk that now reads as `guest` on one that reads as `base`:
// in some parts the same as either, in others zeroes, or the data of that generation.
std::vector<uint8_t> draw_base_contents(uint64_t size, ConstBytes guest, ConstBytes base,
                                        uint32_t generation, Random& random);

}  // namespace byre::simulation
