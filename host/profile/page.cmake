# The page of a profile: page/page.html with the styles and scripts that its @INCLUDE lines name, as
# bytes for page.c. Included by the build; run as a script (cmake -P) it does the work.
if(NOT CMAKE_SCRIPT_MODE_FILE)
  set(PAGE_FOLDER ${CMAKE_BINARY_DIR}/page)
  file(GLOB PAGE_PARTS CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/page/*)
  add_custom_command(
    OUTPUT ${PAGE_FOLDER}/profile_page.inc
    COMMAND ${CMAKE_COMMAND} -D OUTPUT=${PAGE_FOLDER}/profile_page.inc
            -P ${CMAKE_CURRENT_LIST_FILE}
    DEPENDS ${PAGE_PARTS} ${CMAKE_CURRENT_LIST_FILE} COMMENT "page of profiles" VERBATIM)
  set_source_files_properties(${CMAKE_CURRENT_LIST_DIR}/page.c PROPERTIES
    OBJECT_DEPENDS ${PAGE_FOLDER}/profile_page.inc INCLUDE_DIRECTORIES ${PAGE_FOLDER})
  return()
endif()

set(folder ${CMAKE_CURRENT_LIST_DIR}/page)
file(READ ${folder}/page.html page)
while(page MATCHES "@INCLUDE ([a-z.]+)@")
  set(line "${CMAKE_MATCH_0}")
  file(READ ${folder}/${CMAKE_MATCH_1} part)
  string(REPLACE "${line}" "${part}" page "${page}")
endwhile()
string(HEX "${page}" bytes)
string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
string(REPLACE "0x0a," "0x0a,\n" bytes "${bytes}") # a line of the page, a line here
file(WRITE ${OUTPUT} "${bytes}\n")
