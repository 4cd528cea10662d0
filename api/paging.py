"""What all lists share: which page is asked for, and where in the list it is."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class ListMeta(BaseModel):
    """Where in the list this page is."""

    total: int
    page: int
    per_page: int
    total_pages: int


class ListQuery(BaseModel):
    """The parameters of a list; what it does not know is refused."""

    model_config = ConfigDict(extra="forbid")

    number: Annotated[int, Field(alias="page[number]", ge=1, le=10**9, description="Pages count from 1.")] = 1
    size: Annotated[int, Field(alias="page[size]", ge=1, le=100, description="Rows on a page.")] = 20

    @property
    def offset(self) -> int:
        """Rows that come before the page."""
        return (self.number - 1) * self.size

    def meta(self, total: int) -> ListMeta:
        """Where the page is in a list that long."""
        return ListMeta(total=total, page=self.number, per_page=self.size, total_pages=-(-total // self.size))
