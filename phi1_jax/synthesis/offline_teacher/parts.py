"""Small parts of programs: a piece of Python and the words for it, made together.

In both, `@` stands for the element at hand and `#`, `$` for a number and a text that the part
needs; in words, `~` stands for the elements, in the plural.
"""

from phi1_jax.synthesis.offline_teacher.grammar import Table


def _table(text: str) -> Table[tuple[str, ...]]:
    """Rows that begin with their weight: what real programs ask and make most is drawn most."""
    rows = [[part.strip() for part in line.split(" ; ")] for line in text.split("\n")]
    return Table((tuple(row[1:]), float(row[0])) for row in rows)


# Element type -> (name, condition, what it says of one element, what it says of several).
PREDICATES = {
    "int": _table("""\
8 ; even ; @ % 2 == 0 ; is even ; even ~
4 ; odd ; @ % 2 == 1 ; is odd ; odd ~
3 ; odd ; @ % 2 != 0 ; is odd ; odd ~
6 ; positive ; @ > 0 ; is positive ; positive ~
6 ; negative ; @ < 0 ; is negative ; negative ~
1 ; nonzero ; @ != 0 ; is not zero ; non-zero ~
6 ; above ; @ > # ; is greater than # ; ~ greater than #
2 ; above ; @ > # ; is above # ; ~ above #
5 ; below ; @ < # ; is less than # ; ~ smaller than #
2 ; below ; @ < # ; is below # ; ~ below #
3 ; at_least ; @ >= # ; is at least # ; ~ that are at least #
3 ; at_most ; @ <= # ; is at most # ; ~ not larger than #
4 ; multiple ; @ % # == 0 ; is divisible by # ; ~ divisible by #
2 ; multiple ; @ % # == 0 ; is a multiple of # ; multiples of # among the ~
2 ; indivisible ; @ % # != 0 ; is not divisible by # ; ~ that are not divisible by #
4 ; equal ; @ == # ; is equal to # ; ~ equal to #
2 ; differs ; @ != # ; is different from # ; ~ different from #
1 ; far ; abs(@) > # ; is greater than # in absolute value ; ~ whose absolute value exceeds #
1 ; both ; @ % 2 == 0 and @ > # ; is even and greater than # ; even ~ greater than #
1 ; both ; @ % 2 == 1 and @ < # ; is odd and less than # ; odd ~ less than #
1 ; either ; @ < 0 or @ > # ; is negative or greater than # ; ~ that are negative or greater than #
1 ; ends_in ; abs(@) % 10 == # ; ends in the digit # ; ~ that end in the digit #
1 ; digit_sum ; sum(int(d) for d in str(abs(@))) > # ; has a digit sum over # ; ~ with digit sum over #
1 ; one_digit ; abs(@) < 10 ; has a single digit ; single-digit ~
1 ; mirror ; str(@) == str(@)[::-1] ; reads the same backwards ; ~ that read the same backwards"""),  # noqa: E501
    "float": _table("""\
4 ; above ; @ > # ; is greater than # ; ~ greater than #
3 ; below ; @ < # ; is less than # ; ~ less than #
2 ; at_least ; @ >= # ; is at least # ; ~ that are at least #
4 ; positive ; @ > 0 ; is positive ; positive ~
3 ; negative ; @ < 0 ; is negative ; negative ~
1 ; whole ; @ == int(@) ; is a whole number ; ~ without a fractional part"""),
    "str": _table("""\
6 ; longer ; len(@) > # ; has more than # characters ; ~ with more than # characters
2 ; longer ; len(@) > # ; is longer than # ; ~ longer than # characters
4 ; shorter ; len(@) < # ; has fewer than # characters ; ~ shorter than # characters
4 ; length ; len(@) == # ; has exactly # characters ; ~ of length #
2 ; at_least ; len(@) >= # ; has at least # characters ; ~ with at least # characters
3 ; even_length ; len(@) % 2 == 0 ; has an even length ; ~ of even length
2 ; odd_length ; len(@) % 2 == 1 ; has an odd length ; ~ of odd length
4 ; starts ; @.startswith($) ; starts with $ ; ~ that start with $
2 ; starts ; @[:1] == $ ; begins with $ ; ~ beginning with $
3 ; ends ; @.endswith($) ; ends with $ ; ~ that end with $
4 ; contains ; $ in @ ; contains $ ; ~ that contain $
2 ; lacks ; $ not in @ ; does not contain $ ; ~ without $
2 ; upper ; @.isupper() ; is in upper case ; ~ in upper case
2 ; lower ; @.islower() ; is in lower case ; ~ in lower case
1 ; alpha ; @.isalpha() ; consists of letters only ; ~ made of letters only
1 ; digits ; any(c.isdigit() for c in @) ; contains a digit ; ~ that contain a digit
2 ; mirror ; @ == @[::-1] ; is a palindrome ; ~ that are palindromes
2 ; vowel ; @[:1] in ('a', 'e', 'i', 'o', 'u') ; starts with a vowel ; ~ with a vowel in front"""),
    "char": _table("""\
4 ; vowel ; @ in 'aeiou' ; is a lowercase vowel ; lowercase vowels among the ~
4 ; vowel ; @.lower() in 'aeiou' ; is a vowel ; ~ that are vowels
2 ; no_vowel ; @.lower() not in 'aeiou' ; is not a vowel ; ~ that are not vowels
2 ; consonant ; @.isalpha() and @ not in 'aeiouAEIOU' ; is a consonant ; ~ that are consonants
4 ; digit ; @.isdigit() ; is a digit ; ~ that are digits
1 ; no_digit ; not @.isdigit() ; is not a digit ; ~ that are not digits
3 ; letter ; @.isalpha() ; is a letter ; ~ that are letters
4 ; upper ; @.isupper() ; is an uppercase letter ; uppercase ~
4 ; lower ; @.islower() ; is a lowercase letter ; lowercase ~
5 ; equal ; @ == $ ; is equal to $ ; ~ equal to $
3 ; differs ; @ != $ ; is different from $ ; ~ other than $
2 ; space ; @ != ' ' ; is not a space ; ~ that are not spaces
1 ; after ; @ > $ ; comes after $ in the alphabet ; ~ that come after $ in the alphabet"""),
}

# Element type -> (name, type of the result, expression, what the results are called).
MAPS = {
    "int": _table("""\
4 ; square ; int ; @ * @ ; squares of the ~ ; square
5 ; square ; int ; @ ** 2 ; squares of the ~ ; square
3 ; cube ; int ; @ ** 3 ; cubes of the ~ ; cube
4 ; double ; int ; 2 * @ ; doubled ~ ; double
3 ; double ; int ; @ * 2 ; doubles of the ~ ; double
2 ; negate ; int ; -@ ; negated ~ ; negative
3 ; absolute ; int ; abs(@) ; absolute values of the ~ ; absolute value
4 ; plus ; int ; @ + # ; ~ increased by # ; sum with #
3 ; minus ; int ; @ - # ; ~ decreased by # ; value minus #
4 ; times ; int ; @ * # ; ~ multiplied by # ; product with #
2 ; remainder ; int ; @ % # ; remainders of the ~ divided by # ; remainder when divided by #
1 ; quotient ; int ; @ // # ; ~ divided by # and rounded down ; quotient by #, rounded down
2 ; half ; int ; @ // 2 ; halves of the ~, rounded down ; half, rounded down
1 ; distance ; int ; abs(@ - #) ; distances of the ~ from # ; distance from #
2 ; digit_sum ; int ; sum(int(d) for d in str(abs(@))) ; digit sums of the ~ ; digit sum
1 ; n_digits ; int ; len(str(abs(@))) ; numbers of digits of the ~ ; number of digits
1 ; last_digit ; int ; abs(@) % 10 ; last digits of the ~ ; last digit
1 ; at_most ; int ; min(@, #) ; ~ capped at # ; value, but at most #
1 ; at_least ; int ; max(@, #) ; ~ raised to at least # ; value, but at least #
2 ; text ; str ; str(@) ; ~ as strings ; digits as a string"""),
    "float": _table("""\
2 ; round ; int ; round(@) ; ~ rounded to whole numbers ; nearest whole number
2 ; truncate ; int ; int(@) ; whole parts of the ~ ; whole part
3 ; double ; float ; 2 * @ ; doubled ~ ; double
3 ; half ; float ; @ / 2 ; halves of the ~ ; half
3 ; square ; float ; @ ** 2 ; squares of the ~ ; square
3 ; absolute ; float ; abs(@) ; absolute values of the ~ ; absolute value
2 ; plus ; float ; @ + # ; ~ increased by # ; sum with #"""),
    "str": _table("""\
5 ; upper ; str ; @.upper() ; ~ in upper case ; uppercase form
4 ; lower ; str ; @.lower() ; ~ in lower case ; lowercase form
2 ; capital ; str ; @.capitalize() ; capitalized ~ ; capitalized form
4 ; reverse ; str ; @[::-1] ; reversed ~ ; reverse
6 ; length ; int ; len(@) ; lengths of the ~ ; length
3 ; first ; str ; @[:1] ; first letters of the ~ ; first letter
2 ; last ; str ; @[-1:] ; last letters of the ~ ; last letter
2 ; start ; str ; @[:#] ; first # characters of the ~ ; first # characters
2 ; double ; str ; @ + @ ; ~ written twice ; text written twice
2 ; append ; str ; @ + $ ; ~ followed by $ ; text followed by $
1 ; prepend ; str ; $ + @ ; ~ preceded by $ ; text preceded by $
3 ; count ; int ; @.count($) ; numbers of times that $ occurs in the ~ ; number of occurrences of $
2 ; vowels ; int ; sum(c in 'aeiou' for c in @) ; numbers of vowels in the ~ ; number of vowels
1 ; sorted ; str ; ''.join(sorted(@)) ; ~ with their letters sorted ; letters in sorted order
1 ; distinct ; int ; len(set(@)) ; numbers of different letters in ~ ; number of different letters"""),  # noqa: E501
    "char": _table("""\
5 ; upper ; char ; @.upper() ; ~ in upper case ; uppercase form
4 ; lower ; char ; @.lower() ; ~ in lower case ; lowercase form
2 ; swap ; char ; @.swapcase() ; ~ with their case swapped ; other case
2 ; code ; int ; ord(@) ; character codes of the ~ ; character code
3 ; double ; char ; @ * 2 ; doubled ~ ; double
1 ; shift ; char ; chr(ord(@) + #) ; ~ moved # places forward ; successor # places further on
2 ; append ; char ; @ + $ ; ~ each followed by $ ; text followed by $"""),
}
